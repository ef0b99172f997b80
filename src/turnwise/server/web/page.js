// What all pages do: show icons, skip to the content, and show errors above it.

import { byId, fillIcons, focusMain } from "./dom.js";

/**
 * Show an error, or hide the one that is shown.
 *
 * @param message the error; "" hides it.
 * @param retry called by the button "Try again". Without it there is no such button.
 */
export function showError(message, retry = null) {
  const banner = byId("banner");
  const hadFocus = banner.contains(document.activeElement);
  if (byId("banner-text").textContent !== message) byId("banner-text").textContent = message; // screen readers repeat a changed text
  banner.hidden = !message;
  byId("banner-retry").hidden = !retry;
  byId("banner-retry").onclick = () => {
    showError("");
    retry();
  };
  if (hadFocus && document.activeElement?.checkVisibility() !== true) focusMain();
}

/** Run `start`. If it fails, show the error, with a button that runs it again. */
export async function startPage(start) {
  try {
    await start();
  } catch (error) {
    showError(error.message, () => startPage(start));
  }
  document.body.dataset.ready = "true";
}

fillIcons();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment of the address is for conversations and alerts
  byId(event.target.hash.slice(1)).focus();
});
byId("banner-close").addEventListener("click", () => showError(""));
