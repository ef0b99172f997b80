// Creates elements. Text is only set through textContent, so the output of a model cannot become markup.

import { t } from "./i18n.js";

const SVG = "http://www.w3.org/2000/svg";

const PATHS = {
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  check: "M5 13l4 4L19 7",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  down: "M12 5v14M6 13l6 6 6-6",
  code: "M9 8l-4 4 4 4M15 8l4 4-4 4",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  forward: "M5 6v12l8-6zM14 6v12l6-6z",
  folder: "M3 6h6l2 3h10v10H3z",
  fork: "M7 4v8a4 4 0 0 0 4 4h7M14 12l4 4-4 4M7 12v8",
  menu: "M4 7h16M4 12h16M4 17h16",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  pin: "M9 4h6l-1 7 4 4H6l4-4zM12 15v6",
  plus: "M12 5v14M5 12h14",
  retry: "M20 11a8 8 0 1 0-2.300 6M20 5v6h-6",
  send: "M12 19V5M6 11l6-6 6 6",
  sliders: "M4 8h7M17 8h3M11 8a3 3 0 1 0 6 0a3 3 0 1 0-6 0M4 16h3M13 16h7M7 16a3 3 0 1 0 6 0a3 3 0 1 0-6 0",
  stop: "M7 7h10v10H7z",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  thumbDown: "M7 13V4H4v9zM7 13l4 8c1.500 0 2.500-1 2.500-2.500L13 15h6a2 2 0 0 0 2-2.300l-1.200-7a2 2 0 0 0-2-1.700H7",
  thumbUp: "M7 11v9H4v-9zM7 11l4-8c1.500 0 2.500 1 2.500 2.500L13 9h6a2 2 0 0 1 2 2.300l-1.200 7a2 2 0 0 1-2 1.700H7",
  tree: "M5 5h5M10 12h9M10 19h9M7 5v14h3M7 12h3",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  why: "M5 20v-6M10 20V5M15 20v-9M20 20v-4",
};

export const byId = (id) => document.getElementById(id);

/** Create an element with properties and children. A string child becomes a text node. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("aria-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Create an SVG element with attributes and children. */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function icon(name) {
  return makeSvg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" }, makeSvg("path", { d: PATHS[name] }));
}

/** Create a button with an icon and an accessible name. */
export function iconButton(name, label, onclick) {
  return make("button", { type: "button", class: "icon-button", title: label, "aria-label": label, onclick }, icon(name));
}

/** Move the focus to the content, when the element that had it is gone. */
export const focusMain = () => document.querySelector("main").focus({ preventScroll: true });

/** Insert the icons of all elements with `data-icon`. */
export function fillIcons(root = document) {
  for (const element of root.querySelectorAll("[data-icon]")) element.prepend(icon(element.dataset.icon));
}

/** Copy text to the clipboard. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const helper = make("textarea", { value: text, class: "visually-hidden" }); // without https, other machines have no clipboard API
    document.body.append(helper);
    helper.select();
    document.execCommand("copy");
    helper.remove();
  }
  byId("status").textContent = t("Copied.");
}

/** Copy text to the clipboard, and confirm it on the button for 1.5 seconds. */
export async function copy(text, button) {
  await copyText(text);
  button.replaceChildren(icon("check"));
  setTimeout(() => button.replaceChildren(icon("copy")), 1500);
}
