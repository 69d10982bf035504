// Profile, password, addresses, sessions.

import { mine } from "../api.js";
import { chooseAddress } from "../addresses.js";
import { fill, h, toast } from "../dom.js";
import { date, t } from "../i18n.js";
import { complain, field, form, skeletonRows } from "../parts.js";
import { session } from "../session.js";

export async function show(place, { signal, go }) {
  fill(place, h("h1", null, t("accountTitle")), skeletonRows(3));
  const [user, { items }] = await Promise.all([mine("/api/v1/users/me", { signal }), mine("/api/v1/addresses", { signal })]);
  const profile = form({
    fields: [
      h("p", null, h("span", { class: "muted" }, `${t("username")}: `), h("b", null, user.username)),
      h("p", { class: "muted" }, `${t("memberSince")}: ${date(user.created_at)}`),
      field("phone", t("phoneOptional"), { type: "tel", minlength: 5, maxlength: 31, autocomplete: "tel", value: user.phone ?? "" }),
    ],
    action: t("save"),
    submit: async ({ phone }) => {
      await mine("/api/v1/users/me", { method: "PATCH", body: { phone: phone.trim() || null } });
      toast(t("saved"));
    },
  });
  const password = form({
    fields: [
      field("old_password", t("oldPassword"), { type: "password", required: true, autocomplete: "current-password" }),
      field("new_password", t("newPassword"), { type: "password", required: true, minlength: 8, maxlength: 72, autocomplete: "new-password" }, t("passwordHint")),
    ],
    action: t("changePassword"),
    submit: async (fields, element) => {
      await mine("/api/v1/users/me/password", { method: "POST", body: fields });
      element.reset();
      toast(t("passwordChanged"));
      await listDevices();
    },
  });
  const leave = async (event) => {
    event.currentTarget.disabled = true;
    try {
      await session.signOut();
      await go("/");
    } catch (error) {
      complain(error);
    }
  };
  const devices = h("ul", { class: "plain stack" });
  const listDevices = async () => {
    const { items: sessions } = await mine("/api/v1/sessions", { signal });
    fill(devices, sessions.map((one) => h("li", { class: "row" },
      h("span", null, one.current ? h("b", null, t("thisDevice")) : t("otherDevice"), " ",
        h("span", { class: "muted" }, t("lastUsed", { time: date(one.renewed_at) }))),
      !one.current && h("button", { class: "button", onclick: () => end(one.session_id) }, t("endSession")))));
  };
  const end = async (id) => {
    try {
      await mine(`/api/v1/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
      toast(t("sessionEnded"));
    } catch (error) {
      if (error.status !== 404) return complain(error);
    }
    await listDevices().catch(complain);
  };
  const panel = (title, ...content) => h("section", { class: "panel stack" }, h("h2", null, title), content);
  fill(place, h("h1", null, t("accountTitle")), h("div", { class: "columns" },
    panel(t("profile"), profile),
    panel(t("addresses"), chooseAddress({ items, change: () => {}, manage: true })),
    panel(t("changePassword"), password),
    panel(t("sessions"), h("p", { class: "muted" }, t("sessionsText")), devices, h("button", { class: "button", onclick: leave }, t("signOut")))));
  listDevices().catch(complain);
  return t("accountTitle");
}
