// Files that are dropped on the page are imported.

import { make } from "./dom.js";
import { t } from "./i18n.js";

/** `list` is the `History`. */
export function addFileDrop(list) {
  let hint = null;
  const hasFiles = (event) => list.available && event.dataTransfer?.types.includes("Files");
  const hide = () => {
    hint?.remove();
    hint = null;
  };
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    if (hint) return;
    hint = make("div", { class: "drop-hint" }, t("Drop the file to import its conversations"));
    document.body.append(hint);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || hide());
  addEventListener("drop", async (event) => {
    hide();
    if (!hasFiles(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    try {
      await (await import("./conversation_files.js")).importFiles(list, files);
    } catch (error) {
      list.handlers.failed(error);
    }
  });
}
