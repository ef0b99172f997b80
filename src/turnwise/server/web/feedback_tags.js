// Reasons of a rating, as in the server (core/feedback.py), with their labels.

import { make } from "./dom.js";
import { t } from "./i18n.js";

export const TAGS = [
  ["wrong", "wrong"],
  ["incomplete", "incomplete"],
  ["off_topic", "off topic"],
  ["too_long", "too long"],
  ["too_short", "too short"],
  ["unclear", "unclear"],
  ["impolite", "impolite"],
  ["unsafe", "unsafe"],
  ["wrong_language", "wrong language"],
  ["wrong_format", "wrong format"],
];

/** Toggle buttons for the tags; `changed()` is called after each change. */
export function tagButtons(pressed, changed = () => {}) {
  return TAGS.map(([tag, label]) => {
    const button = make("button", {
      type: "button",
      class: "tag-button",
      "aria-pressed": String(pressed.includes(tag)),
      onclick: () => {
        button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
        changed();
      },
    }, t(label));
    button.dataset.tag = tag;
    return button;
  });
}

/** The tags whose buttons are pressed. */
export const pressedTags = (root) =>
  [...root.querySelectorAll('.tag-button[aria-pressed="true"]')].map((button) => button.dataset.tag);
