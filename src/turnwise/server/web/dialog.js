// Modal dialogs. The browser keeps the focus inside, closes them with Escape, and returns the focus afterwards.

import { focusMain, make } from "./dom.js";

/**
 * Show a dialog until the user closes it. Returns whether the user confirmed it.
 *
 * @param id prefix of the ids of its elements.
 * @param text what the dialog says; also its accessible name.
 * @param fields elements between text and buttons. A confirmation needs valid fields.
 * @param cancelLabel text of the button that closes the dialog, like Escape; without it there is no such button.
 * @param confirmLabel text of the other button.
 * @param isDangerous whether the confirmation deletes something.
 * @param isWide whether the dialog is as wide as the window.
 */
export async function showDialog({ id, text, fields = [], cancelLabel, confirmLabel, isDangerous = false, isWide = false }) {
  const confirmClass = isDangerous ? "danger-button" : "primary-button";
  const cancelButton = cancelLabel && make("button", { id: `${id}-no`, type: "button", class: "quiet-button", onclick: () => dialog.close() }, cancelLabel);
  const dialog = make("dialog", { id, class: isWide ? "dialog wide" : "dialog", "aria-labelledby": `${id}-text` },
    make("form", { method: "dialog" },
      make("p", { id: `${id}-text`, dir: "auto" }, text),
      ...fields,
      make("div", { class: "dialog-buttons" },
        ...(cancelButton ? [cancelButton] : []),
        make("button", { id: `${id}-yes`, class: confirmClass, value: "yes" }, confirmLabel),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  dialog.remove();
  if (document.activeElement === document.body) focusMain(); // what had the focus before is hidden now
  return dialog.returnValue === "yes";
}
