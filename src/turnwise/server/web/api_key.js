// The API key, for servers that require one. It is stored for this tab only, and sent in a header, never in a URL.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { tabStorage } from "./storage.js";

let pendingDialog = null; // concurrent requests share one dialog

export const apiKey = () => tabStorage.get("key");
export const keepKey = (key) => tabStorage.set("key", key);

/** Ask the user for a key other than `rejectedKey`, which got the error `code`. Returns false if the user cancels. */
export async function requestKey(rejectedKey, code) {
  if (apiKey() !== rejectedKey) return true; // another request has obtained one meanwhile
  pendingDialog ??= showKeyDialog(rejectedKey, code).finally(() => (pendingDialog = null));
  return pendingDialog;
}

function keyProblem(rejectedKey, code) {
  if (!rejectedKey) return t("This server asks for an API key.");
  if (code === "insufficient_role") return t("The role of this key does not allow this page. Another key may.");
  return t("The server does not accept this key. It may have been revoked, or mistyped.");
}

async function showKeyDialog(rejectedKey, code) {
  const { showDialog } = await import("./dialog.js");
  const field = make("input", {
    id: "key-field", type: "password", placeholder: "tw-…", autocomplete: "off", spellcheck: false, required: true,
    pattern: "\\s*[!-~]+\\s*", title: t("letters, digits and signs without spaces"), "aria-describedby": "key-hint",
    "aria-invalid": String(rejectedKey !== null),
  });
  const isConfirmed = await showDialog({
    id: "key",
    text: keyProblem(rejectedKey, code),
    fields: [
      make("label", { for: "key-field" }, t("API key")),
      field,
      make("p", { id: "key-hint", class: "dialog-hint" }, t("Kept in this tab only, until it is closed.")),
    ],
    cancelLabel: t("Not now"),
    confirmLabel: t("Use this key"),
  });
  if (isConfirmed) keepKey(field.value.trim());
  return isConfirmed;
}
