// Choosing, adding and changing addresses.

import { mine } from "./api.js";
import { fill, h } from "./dom.js";
import { t } from "./i18n.js";
import { addressLine, ask, confirmation, field, form, intention } from "./parts.js";

/** A form for a new address, or for a change of `address`; resolves with what the server has then, null where it is closed. */
export function editAddress(address) {
  return ask(address ? t("edit") : t("addAddress"), (done) => form({
    fields: [
      field("recipient", t("recipient"), { required: true, maxlength: 50, autocomplete: "name", value: address?.recipient ?? "", autofocus: true }),
      field("phone", t("phone"), { required: true, minlength: 5, maxlength: 20, type: "tel", autocomplete: "tel", value: address?.phone ?? "" }),
      field("region", t("region"), { required: true, maxlength: 100, autocomplete: "address-level1", value: address?.region ?? "" }),
      field("detail", t("detail"), { required: true, maxlength: 200, autocomplete: "street-address", value: address?.detail ?? "" }),
      h("label", { class: "check" }, h("input", { type: "checkbox", name: "is_default", checked: address?.is_default ?? false }), t("makeDefault")),
    ],
    action: t("save"),
    submit: async ({ is_default: chosen, ...fields }) => {
      const body = { ...fields, is_default: chosen === "on" };
      if (address) done(await mine(`/api/v1/addresses/${address.address_id}`, { method: "PUT", body }));
      else {
        const { key, settled } = intention("address");
        const added = await mine("/api/v1/addresses", { method: "POST", body, key }).finally(settled);
        done(added);
      }
    },
  }));
}

/** Radio buttons for the addresses; `change(address)` hears the choice, null where there is none. */
export function chooseAddress({ items, chosen, change, manage = false }) {
  const place = h("div", { class: "stack" });
  const paint = (list, id) => {
    const current = list.find((one) => one.address_id === id) ?? list.find((one) => one.is_default) ?? list[0] ?? null;
    change(current);
    const again = async (made) => {
      if (made) paint((await mine("/api/v1/addresses")).items, made.address_id ?? current?.address_id);
    };
    fill(place,
      list.length === 0 && h("p", { class: "muted" }, t("noAddresses")),
      list.length > 0 && h("div", { class: "addresses", role: manage ? null : "radiogroup", "aria-label": t("address") }, list.map((address) =>
        h(manage ? "div" : "label", { class: "address" },
          !manage && h("input", { type: "radio", name: "address", checked: address === current, onchange: () => change(address) }),
          h("div", { class: "grow" }, h("b", null, address.recipient), " ", h("span", { class: "muted" }, address.phone), " ",
            address.is_default && h("span", { class: "badge" }, t("isDefault")), h("div", null, addressLine(address))),
          h("div", { class: "address-actions" }, h("button", { type: "button", class: "link", onclick: async () => again(await editAddress(address)) }, t("edit")),
          manage && h("button", { type: "button", class: "link", onclick: async () => {
            if (!(await confirmation(`${address.recipient} · ${addressLine(address)}`, t("remove")))) return;
            await mine(`/api/v1/addresses/${address.address_id}`, { method: "DELETE" });
            await again({});
          } }, t("remove")))))),
      h("button", { type: "button", class: "button", onclick: async () => again(await editAddress()) }, t("addAddress")));
  };
  paint(items, chosen);
  return place;
}
