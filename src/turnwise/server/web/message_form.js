// The form that edits or corrects a message, in its place.

import { make } from "./dom.js";
import { t } from "./i18n.js";

/** Show a text to edit in place of an entry. `needsControl`: Enter starts a new line, Ctrl+Enter submits. */
export function showMessageForm(entry, text, { label, note, submitLabel, submit, needsControl = false }) {
  const area = make("textarea", { value: text, dir: "auto", class: "edit-area", "aria-label": label });
  const focused = document.activeElement;
  const done = () => {
    form.replaceWith(...before);
    focused?.focus({ preventScroll: true });
  };
  const submits = (event) => event.key === "Enter" && !event.isComposing && (needsControl ? event.ctrlKey || event.metaKey : !event.shiftKey);
  const form = make(
    "form",
    {
      class: "edit",
      onsubmit: (event) => {
        event.preventDefault();
        if (area.value.trim()) submit(area.value.trim(), done);
      },
      onkeydown: (event) => {
        if (event.target === area && submits(event)) form.requestSubmit();
        else if (event.key === "Escape" && !event.isComposing) done();
        else return;
        event.preventDefault();
        event.stopPropagation();
      },
    },
    area,
    make("p", { class: "edit-note" }, note),
    make("button", { type: "submit", class: "primary-button" }, submitLabel),
    make("button", { type: "button", class: "quiet-button", onclick: done }, t("Cancel")),
  );
  const before = [...entry.children];
  entry.replaceChildren(form);
  area.rows = Math.min(12, text.split("\n").length + 1);
  area.focus();
}
