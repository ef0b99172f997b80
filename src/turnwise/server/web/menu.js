// A menu below a button: arrow keys, Home and End move, letters search, Escape and Tab close it.

import { make } from "./dom.js";

let close = () => {};

/**
 * Show a menu.
 *
 * @param anchor element that the menu belongs to; gets the focus when it closes.
 * @param items `{ label, run, isDanger, isChecked }`; null for a line between groups.
 * @param label accessible name.
 */
export function showMenu(anchor, items, label) {
  close();
  const focused = document.activeElement;
  const menu = make("div", { class: "menu", role: "menu", "aria-label": label, popover: "manual" }, ...items.map((item) => entry(item)));
  const buttons = [...menu.querySelectorAll("button")];
  const isOutside = (event) => !menu.contains(event.target) && close(false);
  const onKeyOutside = (event) => event.key === "Escape" && !menu.contains(event.target) && close();
  close = (returnsFocus = true) => {
    close = () => {};
    removeEventListener("pointerdown", isOutside, true);
    removeEventListener("keydown", onKeyOutside, true);
    removeEventListener("resize", close);
    anchor.setAttribute("aria-expanded", "false");
    menu.remove();
    if (returnsFocus) (focused?.isConnected && focused !== document.body ? focused : anchor).focus({ preventScroll: true });
  };
  const closeThis = close;
  function entry(item) {
    if (!item) return make("hr", { role: "separator" });
    const { label: text, run, isDanger = false, isChecked } = item;
    const button = make("button", {
      type: "button", class: isDanger ? "menu-item danger" : "menu-item", tabIndex: -1, dir: "auto",
      role: isChecked === undefined ? "menuitem" : "menuitemcheckbox",
      onclick: () => {
        closeThis();
        run();
      },
    }, text);
    if (isChecked !== undefined) button.setAttribute("aria-checked", String(isChecked));
    return button;
  }
  menu.addEventListener("keydown", (event) => onKey(event, buttons, closeThis));
  (anchor.closest("nav, aside, header, main") ?? document.body).append(menu); // inside a landmark
  menu.showPopover();
  anchor.setAttribute("aria-expanded", "true");
  position(menu, anchor);
  addEventListener("pointerdown", isOutside, true);
  addEventListener("keydown", onKeyOutside, true); // something else may have taken the focus
  buttons[0]?.focus();
}

function onKey(event, buttons, closeMenu) {
  const index = buttons.indexOf(document.activeElement);
  const step = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
  if (step !== undefined) buttons.at(step % buttons.length)?.focus();
  else if (event.key === "Escape" || event.key === "Tab") closeMenu();
  else if (event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const rotated = [...buttons.slice(index + 1), ...buttons.slice(0, index + 1)];
    rotated.find(({ textContent }) => textContent.toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

/** Below the anchor, or above it, inside the window. */
function position(menu, anchor) {
  const { left, right, top, bottom } = anchor.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const isRightToLeft = getComputedStyle(anchor).direction === "rtl";
  const x = isRightToLeft ? right - width : left;
  menu.style.left = `${Math.max(8, Math.min(x, innerWidth - width - 8))}px`;
  menu.style.top = `${bottom + height + 8 < innerHeight ? bottom + 4 : Math.max(8, top - height - 4)}px`;
}
