// Signing in and registering.

import { fill, h, toast } from "../dom.js";
import { t } from "../i18n.js";
import { field, form } from "../parts.js";
import { session } from "../session.js";

export async function show(place, { query, go }) {
  const registering = query.get("mode") === "register";
  const asked = query.get("next") ?? "/";
  // Only a path of the shop; "//host" would lead elsewhere.
  const next = /^\/(?![/\\])/.test(asked) ? asked : "/";
  const other = `/sign-in?${new URLSearchParams({ next, ...(registering ? {} : { mode: "register" }) })}`;
  const title = t(registering ? "registerTitle" : "signInTitle");
  const fields = [
    field("username", t("username"), { required: true, minlength: 3, maxlength: 32, autocomplete: "username", autocapitalize: "none", spellcheck: "false" },
      registering ? t("usernameHint") : null),
    field("password", t("password"), { type: "password", required: true, minlength: registering ? 8 : 1, maxlength: 72,
      autocomplete: registering ? "new-password" : "current-password" }, registering ? t("passwordHint") : null),
    registering && field("phone", t("phoneOptional"), { type: "tel", minlength: 5, maxlength: 20, autocomplete: "tel" }),
  ];
  const submit = async ({ username, password, phone }) => {
    if (registering) await session.register({ username, password, ...(phone?.trim() && { phone: phone.trim() }) });
    else await session.signIn(username, password);
    toast(t("welcome", { name: username }));
    await go(next, { replace: true });
  };
  fill(place, h("div", { class: "narrow panel stack" }, h("h1", null, title),
    next !== "/" && h("p", { class: "muted" }, t("signInFirst")),
    form({ fields, action: t(registering ? "register" : "signIn"), submit,
      extra: h("a", { class: "center block", href: other }, t(registering ? "toSignIn" : "toRegister")) })));
  return title;
}
