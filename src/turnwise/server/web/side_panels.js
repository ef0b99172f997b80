// The list of conversations and the settings, which open beside the conversation.

import { byId } from "./dom.js";

const NARROW = "(max-width: 760px)"; // the list of conversations covers the page

export function toggleSidebar(isShown) {
  document.body.classList.toggle("sidebar-shown", isShown);
  byId("backdrop").hidden = !isShown;
  if (isShown) byId("new-chat").focus();
}

export function toggleSettings(isShown) {
  byId("controls").hidden = !isShown;
  byId("open-controls").setAttribute("aria-expanded", String(isShown));
  if (isShown) byId("close-controls").focus();
}

export function searchConversations() {
  if (matchMedia(NARROW).matches) toggleSidebar(true);
  byId("history-search").focus();
}

/** Close the panel that is open, and return to its button. */
export function closePanel() {
  if (!byId("controls").hidden) {
    toggleSettings(false);
    byId("open-controls").focus();
  } else if (document.body.classList.contains("sidebar-shown")) {
    toggleSidebar(false);
    byId("open-sidebar").focus();
  }
}

export function addPanelButtons() {
  byId("open-sidebar").addEventListener("click", () => toggleSidebar(true));
  byId("close-sidebar").addEventListener("click", () => toggleSidebar(false));
  byId("backdrop").addEventListener("click", () => toggleSidebar(false));
  byId("open-controls").addEventListener("click", () => toggleSettings(byId("controls").hidden));
  byId("close-controls").addEventListener("click", () => toggleSettings(false));
}
