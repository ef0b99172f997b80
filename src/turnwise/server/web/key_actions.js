// Creates and revokes API keys, after a confirmation that says what will happen. Each function returns whether it did it.

import * as api from "./api.js";
import { keepKey } from "./api_key.js";
import { showDialog } from "./dialog.js";
import { copy, iconButton, make } from "./dom.js";
import { t } from "./i18n.js";

const confirm = (id, text, confirmLabel, field) =>
  showDialog({ id, text, fields: [field, make("p", { class: "dialog-hint" })], cancelLabel: t("Cancel"), confirmLabel, isDangerous: true });

/** Create a key and show it once. The user is warned if it is the first one, which makes the server require keys. */
export async function createKey(body, isFirst) {
  const keep = make("input", { type: "checkbox", checked: isFirst });
  const label = make("label", { class: "check" }, keep, ` ${t("Go on with the new key in this tab")}`);
  const warning = t("Create the first key? From then on, this server answers nobody without a key.");
  if (isFirst && !(await confirm("first-key", warning, t("Create the key"), label))) return false;
  const { name, key } = await api.createKey(body);
  if (keep.checked) keepKey(key);
  const button = iconButton("copy", t("Copy"), () => copy(key, button));
  const field = make("input", { value: key, readOnly: true, "aria-label": t("API key") });
  // Before the page is read again, because that asks for a key if the tab has none.
  await showDialog({ id: "created-key", text: t("The key “{name}”. Store it now: it is not shown again.", { name }), fields: [make("p", { class: "admin-bar" }, field, button)], confirmLabel: t("Close") });
  return true;
}

export async function revokeKey({ name, is_current: isCurrent }) {
  const text = t("Revoke “{name}”? Programs and people with this key are rejected at once. It cannot be undone.", { name });
  const note = make("p", { class: "error", hidden: !isCurrent }, t("This tab uses it, and will ask for another key."));
  return (await confirm("revoke", text, t("Revoke"), note)) && Boolean(await api.revokeKey(name));
}
