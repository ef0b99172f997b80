// What all pages do: show icons, skip to the content, and show errors above it.

import { addCommands, addShortcuts, controlKey, takesText } from "./commands.js";
import { byId, fillIcons, focusMain } from "./dom.js";
import { language, LANGUAGES, setLanguage, t } from "./i18n.js";

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

const openPalette = async () => (await import("./palette.js")).showPalette();
const openShortcuts = async () => (await import("./shortcuts.js")).showShortcuts();
const otherLanguages = Object.entries(LANGUAGES).filter(([code]) => code !== language);

function pageCommands() {
  const links = [...document.querySelectorAll(".page-links a:not([aria-current])")];
  return [
    ...links.map((link) => ({ label: t("Go to: {page}", { page: link.textContent }), run: () => link.click() })),
    { label: t("Light or dark"), run: () => byId("theme").click() },
    ...otherLanguages.map(([code, name]) => ({ label: t("Language: {name}", { name }), run: () => setLanguage(code) })),
    { label: t("Keyboard shortcuts"), keys: "?", run: openShortcuts },
  ];
}

function onKey(event) {
  const hasControl = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
  if (hasControl && event.key.toLowerCase() === "k") openPalette();
  else if (event.key === "?" && !takesText(event.target)) openShortcuts();
  else return;
  event.preventDefault();
}

/** The button that switches to the other language. It is named in that language. */
function prepareLanguageButton() {
  const [[code, name]] = otherLanguages;
  const button = byId("language");
  Object.assign(button, { lang: code, title: name, textContent: name.slice(0, 2) });
  button.setAttribute("aria-label", name);
  button.addEventListener("click", () => setLanguage(code));
}

addCommands(pageCommands);
addShortcuts([controlKey("K"), t("Show all actions")], ["?", t("Show this list")]);
document.addEventListener("keydown", onKey);
prepareLanguageButton();
fillIcons();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment of the address is for conversations and alerts
  byId(event.target.hash.slice(1)).focus();
});
byId("banner-close").addEventListener("click", () => showError(""));
