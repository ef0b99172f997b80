// The API key of a server that asks for one. It lives in this tab only and is sent as a header, never in an address.

import { byId } from "./dom.js";

const NAME = "turnwise.key";
let kept = null; // for a browser that keeps nothing
let asking = null; // requests that fail together ask once

export function key() {
  try {
    return sessionStorage.getItem(NAME) ?? kept;
  } catch {
    return kept;
  }
}

function keep(value) {
  kept = value;
  try {
    sessionStorage.setItem(NAME, value);
  } catch {
    // Private windows may refuse; the key lives as long as the page.
  }
}

/** Whether there is a key to try, other than the one that was `refused`. */
export async function askForKey(refused) {
  if (key() !== refused) return true; // another request has asked meanwhile
  asking ??= dialog(refused).finally(() => (asking = null));
  return asking;
}

async function dialog(refused) {
  const shown = byId("key");
  byId("key-text").textContent = refused
    ? "The server does not accept this key. It may have been revoked, or mistyped."
    : "This server asks for an API key.";
  byId("key-field").value = "";
  byId("key-no").onclick = () => shown.close("no");
  shown.returnValue = "no";
  shown.showModal();
  await new Promise((closed) => shown.addEventListener("close", closed, { once: true }));
  const said = byId("key-field").value.trim();
  byId("key-field").value = "";
  if (shown.returnValue !== "yes" || !said) return false;
  keep(said);
  return true;
}
