// The page of the data sets. Its address says which one it shows, and which rows: `#set=NAME&at=40&query=tea`.

import { json } from "./api.js";
import { addShortcuts, takesText } from "./commands.js";
import { createReport, createRow, format } from "./data_rows.js";
import { byId, focusMain, iconButton, make } from "./dom.js";
import { language, t } from "./i18n.js";
import { replaceParts, updateList } from "./keyed_list.js";
import { showError, startPage } from "./page.js";

const PAGE_ROWS = 20;
const POLL_MS = 1000;
const [title, report, rows, position, next, previous, search, number, all, input, progress] =
  ["name", "report", "rows", "position", "next", "previous", "search", "number", "all", "file", "progress"].map((id) => byId(`data-${id}`));

let sets = [];
let shown = ""; // the rows on the page
let nextOffset = null;
let timer = null;

const datasetPath = (name) => `/v1/datasets/${encodeURIComponent(name)}`;
const address = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
const go = (target) => {
  location.hash = new URLSearchParams({ set: address().set, ...target });
  search.form.scrollIntoView();
};

/** Read a part of the open data set, and show it unless another one was opened; parts do not wait for each other. */
const load = (path, render) => startPage(async () => {
  const { set } = address();
  const body = await json("GET", `${datasetPath(set)}/${path}`).catch((error) => {
    if (set === address().set) throw error;
  });
  if (set === address().set) render(body, set);
});

/** Show what the address names. */
function show() {
  const { set = "" } = address();
  showError("");
  clearTimeout(timer);
  updateList(byId("data-sets").tBodies[0], sets.map((entry) => ({ ...entry, isOpen: entry.id === set })), ({ id }) => id, () => make("tr"), showDataset);
  byId("data-set").hidden = !set;
  if (title.textContent !== set) {
    title.textContent = set;
    byId("data-train").href = `/runs?${new URLSearchParams({ dataset: set })}`;
    for (const part of [report, rows, position]) part.replaceChildren();
    shown = "";
    if (set) loadReport();
  }
  if (set) loadRows();
}

const loadReport = () => load("check", (check, set) => {
  report.replaceChildren(...createReport(check, (finding) => go({ finding })));
  if (check.status === "in_progress") setTimeout(() => set === address().set && loadReport(), POLL_MS);
});

function loadRows() {
  const { set: _, at = 0, ...filter } = address();
  const { hash } = location;
  load(`dialogues?${new URLSearchParams({ limit: PAGE_ROWS, offset: at, ...filter })}`, (page) => {
    if (location.hash !== hash) return;
    nextOffset = page.next_offset;
    search.value = filter.query ?? "";
    all.hidden = !filter.query && !filter.finding;
    if (shown !== (shown = JSON.stringify([page.data, filter]))) rows.replaceChildren(...page.data.map((row) => createRow(row, search.value)));
    position.textContent = describe(page, Number(at), filter);
    previous.disabled = at < 1;
    next.disabled = nextOffset === null;
    if (document.activeElement.matches(":disabled, [hidden]")) position.focus();
    if (!page.complete) timer = setTimeout(loadRows, POLL_MS);
  });
}

function describe({ data, total, complete, stopped_early: isStopped }, at, { query, finding }) {
  const last = query ? (nextOffset ?? total) : at + data.length;
  return [
    finding && t(finding),
    query && t("“{query}”: {count} found", { query, count: data.length }),
    data.length || query ? t("{first} to {last} of {total}", { first: format(at + 1), last: format(last), total: format(total) }) : t("No dialogue"),
    complete ? isStopped && t("Next continues the search.") : t("The file is being read."),
  ].filter(Boolean).join(" · ");
}

function turnPage(button) {
  const { at, ...filter } = address();
  if (button.disabled) return;
  go({ ...filter, at: button === next ? nextOffset : filter.query ? 0 : Math.max(0, at - PAGE_ROWS) });
}

function showDataset(row, { id, bytes, created, bundled, isOpen }) {
  replaceParts(row,
    make("th", {}, make("a", { href: `#${new URLSearchParams({ set: id })}`, dir: "auto", "aria-current": isOpen }, id)),
    make("td", {}, `${format(Math.ceil(bytes / 1000))} kB`),
    make("td", {}, bundled ? t("example") : new Date(1000 * created).toLocaleString(language)),
    make("td", {}, bundled ? "" : iconButton("trash", t("Delete “{id}”", { id }), () => remove(id))),
  );
}

/** Add files one after another, and show each. */
async function upload(files) {
  const errors = [];
  for (const file of files) {
    const { name: filename } = file;
    progress.textContent = t("Adding {filename}…", { filename });
    try {
      const { id } = await json("POST", `/v1/datasets?${new URLSearchParams({ filename })}`, file);
      go({ set: id });
      await refresh();
      title.focus();
    } catch (error) {
      errors.push(error.message);
    }
  }
  if (errors.length) showError(errors.join(" "));
  progress.textContent = input.value = "";
}

/** Delete a data set, after a confirmation. */
async function remove(id) {
  const { showDialog } = await import("./dialog.js");
  const text = t("Delete the data set “{id}” from this server?", { id });
  if (!(await showDialog({ id: "delete", text, cancelLabel: t("Cancel"), confirmLabel: t("Delete"), isDangerous: true }))) return;
  startPage(async () => {
    await json("DELETE", datasetPath(id));
    if (id === address().set) location.hash = "";
    await refresh();
    focusMain();
  });
}

async function refresh() {
  sets = (await json("GET", "/v1/datasets")).data;
  show();
}

search.form.onsubmit = (event) => {
  event.preventDefault();
  const query = search.value.trim();
  go(number.value ? { at: number.value - 1 } : query ? { query } : {});
  number.value = "";
};
all.onclick = () => go({});
next.onclick = previous.onclick = ({ currentTarget }) => turnPage(currentTarget);
window.onhashchange = show;
document.onkeydown = (event) => {
  if (takesText(event.target) || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("dialog")) return;
  if (event.key === "n") turnPage(next);
  else if (event.key === "p") turnPage(previous);
  else if (event.key !== "/") return;
  else search.focus();
  event.preventDefault();
};
addShortcuts(["N", t("Next")], ["P", t("Previous")], ["/", t("Search in the dialogues")]);
byId("data-choose").onclick = () => input.click();
input.onchange = () => upload([...input.files]);
document.ondragover = document.ondragleave = document.ondrop = (event) => {
  const { type, dataTransfer } = event;
  if (!dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.toggle("dropping", type === "dragover");
  if (type === "drop") upload([...dataTransfer.files]);
};
startPage(refresh);
