// Saves conversations as files, and imports files: chosen, or dropped on the page.

import * as conversations from "./conversations_api.js";
import { showDialog } from "./dialog.js";
import { byId, make } from "./dom.js";
import { t } from "./i18n.js";

const SUFFIXES = { jsonl: "jsonl", markdown: "md" };
const MAX_NAME_CHARS = 60;
const INVALID = "invalid_conversations"; // code of the server

/** Save conversations as one file; all of them without `entries`. */
export async function saveConversations(format, entries) {
  const file = await conversations.exportConversations(format, entries?.map(({ id }) => id));
  const name = entries?.length === 1 ? entries[0].title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, MAX_NAME_CHARS) : "";
  const address = URL.createObjectURL(file);
  make("a", { href: address, download: `${name || "turnwise-conversations"}.${SUFFIXES[format]}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  byId("status").textContent = t("Saved as a file.");
}

/** Let the user choose a file to import. `list` is the `History`. */
export function chooseFile(list) {
  const input = make("input", { type: "file", accept: ".json,.jsonl,application/json", onchange: () => importFiles(list, [...input.files]) });
  input.click();
}

/** Import files, report the result, and open the conversation if there is one only. */
export async function importFiles(list, files) {
  const reports = [];
  for (const file of files) {
    const report = await importFile(file).catch((error) => list.handlers.failed(error, () => importFiles(list, [file])));
    if (report) reports.push(report);
  }
  if (!reports.length) return;
  await list.load().catch(() => {});
  const ids = reports.flatMap(({ ids: added, known_ids: known }) => [...added, ...known]);
  if (ids.length === 1) list.handlers.open(ids[0]);
  const text = describe(reports);
  const problems = reports.flatMap(({ problems: skipped }) => skipped);
  const isQuiet = ids.length === 1 && !problems.length;
  byId("status").textContent = text;
  if (!isQuiet) await showDialog({ id: "imported", text, fields: problems.length ? [problemList(problems)] : [], confirmLabel: t("Close") });
}

/** The report of the server; null if the user does not want the valid part of a file. */
async function importFile(file) {
  try {
    return await conversations.importConversations(file);
  } catch (error) {
    if (error.code !== INVALID) throw error;
    const isConfirmed = await showDialog({
      id: "partial", text: t("Some conversations of “{name}” cannot be imported.", { name: file.name }),
      fields: [make("p", { class: "dialog-hint", dir: "auto" }, error.message.replace(/ Nothing was imported.*$/, ""))],
      cancelLabel: t("Import nothing"), confirmLabel: t("Import the others"),
    });
    return isConfirmed ? conversations.importConversations(file, { skipInvalid: true }) : null;
  }
}

function describe(reports) {
  const sum = (count) => reports.reduce((total, report) => total + count(report), 0);
  const known = sum(({ known_ids: ids }) => ids.length);
  const omitted = sum(({ num_omitted: count }) => count);
  const skipped = sum(({ problems }) => problems.length);
  return [
    t("{count} conversations with {messages} messages are imported.", { count: sum(({ ids }) => ids.length), messages: sum(({ num_messages: count }) => count) }),
    known ? t("{count} were here already.", { count: known }) : "",
    omitted ? t("{count} pictures or files are left out.", { count: omitted }) : "",
    skipped ? t("{count} conversations are left out:", { count: skipped }) : "",
  ].filter(Boolean).join(" ");
}

function problemList(problems) {
  return make("ul", { class: "problem-list", tabIndex: 0, "aria-label": t("Conversations that are left out") },
    ...problems.map(({ position, reason }) => make("li", { dir: "auto" }, `${position}: ${reason}`)));
}
