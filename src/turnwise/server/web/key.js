// The API key, for servers that require one. It is stored for this tab only, and sent in a header, never in a URL.

import { byId } from "./dom.js";

const NAME = "turnwise.key";
let keyInMemory = null; // used if the browser has no session storage
let pendingDialog = null; // concurrent requests share one dialog

export function key() {
  try {
    return sessionStorage.getItem(NAME) ?? keyInMemory;
  } catch {
    return keyInMemory;
  }
}

function storeKey(value) {
  keyInMemory = value;
  try {
    sessionStorage.setItem(NAME, value);
  } catch {
    // Private windows may have no storage; the key is then lost with the page.
  }
}

/** Ask the user for a key other than `rejectedKey`. Returns false if the user cancels. */
export async function requestKey(rejectedKey) {
  if (key() !== rejectedKey) return true; // another request has obtained one meanwhile
  pendingDialog ??= showDialog(rejectedKey).finally(() => (pendingDialog = null));
  return pendingDialog;
}

async function showDialog(rejectedKey) {
  const element = byId("key");
  byId("key-text").textContent = rejectedKey
    ? "The server does not accept this key. It may have been revoked, or mistyped."
    : "This server asks for an API key.";
  byId("key-field").value = "";
  byId("key-no").onclick = () => element.close("no");
  element.returnValue = "no";
  element.showModal();
  await new Promise((closed) => element.addEventListener("close", closed, { once: true }));
  const value = byId("key-field").value.trim();
  byId("key-field").value = "";
  if (element.returnValue !== "yes" || !value) return false;
  storeKey(value);
  return true;
}
