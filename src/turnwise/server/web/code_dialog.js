// Shows a request as code for curl, Python and JavaScript, to copy it.

import { apiKey } from "./api_key.js";
import { showDialog } from "./dialog.js";
import { copy, iconButton, make } from "./dom.js";
import { t } from "./i18n.js";
import { portableRequest, toCurl, toJavaScript, toPython } from "./request_code.js";
import { storage } from "./storage.js";

const LANGUAGES = [["curl", "curl", toCurl], ["python", "Python", toPython], ["javascript", "JavaScript", toJavaScript]];
const PAGE_EXTENSIONS = ["sampling_preset", "scenario", "knowledge", "continue_final_message"];

/**
 * Show a request as code until the user closes the dialog.
 *
 * @param request body of a chat completion, as the page sends it.
 * @param declaration answer of /v1/parameters: which fields are extensions.
 * @param note sentence above the code; "" for none.
 */
export async function showCode(request, declaration, note = "") {
  const extensions = new Set(PAGE_EXTENSIONS);
  for (const { name, is_extension: isExtension } of [...declaration.data, ...declaration.fields]) if (isExtension) extensions.add(name);
  const options = { origin: location.origin, needsKey: Boolean(apiKey()), extensions };
  const code = make("code");
  const copyButton = iconButton("copy", t("Copy the code"), () => copy(code.textContent, copyButton));
  const show = (name) => {
    code.textContent = LANGUAGES.find(([id]) => id === name)[2](portableRequest(request), options);
    storage.set("code_language", name);
  };
  const chosen = LANGUAGES.some(([id]) => id === storage.get("code_language")) ? storage.get("code_language") : "curl";
  const choices = LANGUAGES.map(([id, label]) => make("label", { class: "choice-label" },
    make("input", { type: "radio", name: "code-language", value: id, checked: id === chosen, onchange: () => show(id) }), label));
  show(chosen);
  await showDialog({
    id: "code",
    text: t("This request as code"),
    isWide: true,
    fields: [
      make("fieldset", { class: "code-languages" }, make("legend", { class: "visually-hidden" }, t("Language of the code")), ...choices),
      ...(note ? [make("p", { class: "dialog-hint" }, note)] : []),
      make("div", { class: "code-sample", dir: "ltr" }, copyButton, make("pre", { tabIndex: 0, role: "region", "aria-label": t("Code") }, code)),
      ...(options.needsKey ? [make("p", { class: "dialog-hint" }, t("The code reads the API key from a variable of the environment."))] : []),
    ],
    confirmLabel: t("Close"),
  });
}
