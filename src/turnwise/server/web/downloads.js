// Files that the user saves, and texts of files that the user opens.

import { make } from "./dom.js";

/** Save a text as a file. */
export function saveFile(name, text, type) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // the browser reads it after the click
}

/** Let the user choose a file, and return its text; null if none was chosen. */
export async function openFile(accept) {
  const input = make("input", { type: "file", accept });
  const chosen = new Promise((resolve) => {
    input.addEventListener("change", () => resolve(input.files[0]));
    input.addEventListener("cancel", () => resolve(null));
  });
  input.click();
  return (await chosen)?.text() ?? null;
}
