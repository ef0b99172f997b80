// The command palette: all actions of the page in one list, searched by typing.

import { listCommands, searchCommands } from "./commands.js";
import { byId, make } from "./dom.js";
import { fuzzyMatch } from "./fuzzy_match.js";
import { t } from "./i18n.js";

const MAX_SHOWN = 50;
const SEARCH_DELAY = 200; // milliseconds after the last key
const MIN_QUERY_CHARS = 2; // of a search on the server

/** Show the palette until an action is chosen or it is closed. */
export function showPalette() {
  if (byId("palette")) return;
  const commands = listCommands();
  let results = [];
  let fetched = [];
  let active = 0;
  let timer = 0;
  let chosen = null;

  const input = make("input", {
    id: "palette-input", type: "text", role: "combobox", autocomplete: "off", spellcheck: false, dir: "auto",
    "aria-label": t("Search actions and conversations"), "aria-controls": "palette-list", "aria-expanded": "true",
    "aria-autocomplete": "list", placeholder: t("Search actions and conversations"),
  });
  const list = make("ul", { id: "palette-list", role: "listbox", "aria-label": t("Actions") });
  const none = make("p", { class: "palette-none", role: "status" });
  const dialog = make("dialog", { id: "palette", class: "palette", "aria-label": t("Command palette") }, input, list, none);

  function show() {
    const query = input.value;
    const matches = commands.map((command) => ({ ...command, match: fuzzyMatch(query, command.label) })).filter(({ match }) => match);
    if (query.trim()) matches.sort((first, second) => second.match.score - first.match.score);
    results = [...matches, ...fetched].slice(0, MAX_SHOWN);
    active = Math.min(active, Math.max(0, results.length - 1));
    list.replaceChildren(...results.map(option));
    none.textContent = results.length ? "" : t("There is no such action.");
    markActive();
  }

  function option({ label, keys, match }, index) {
    const marked = new Set(match?.positions);
    const text = [...label].map((letter, at) => (marked.has(at) ? make("b", {}, letter) : letter));
    const element = make("li", { id: `palette-${index}`, role: "option", onclick: () => run(index) },
      make("span", { dir: "auto" }, ...text), ...(keys ? [make("kbd", {}, keys)] : []));
    element.addEventListener("pointermove", () => {
      if (active === index) return;
      active = index;
      markActive({ scrolls: false });
    });
    return element;
  }

  function markActive({ scrolls = true } = {}) {
    for (const [index, element] of [...list.children].entries()) element.setAttribute("aria-selected", String(index === active));
    if (results.length) input.setAttribute("aria-activedescendant", `palette-${active}`);
    else input.removeAttribute("aria-activedescendant");
    if (scrolls) list.children[active]?.scrollIntoView({ block: "nearest" });
  }

  function run(index) {
    chosen = results[index] ?? null;
    if (chosen) dialog.close();
  }

  async function search() {
    const query = input.value.trim();
    const entries = query.length < MIN_QUERY_CHARS ? [] : await searchCommands(query).catch(() => []);
    if (query !== input.value.trim()) return; // a later search is under way
    fetched = entries;
    show();
  }

  input.addEventListener("input", () => {
    active = 0;
    fetched = [];
    show();
    clearTimeout(timer);
    timer = setTimeout(search, SEARCH_DELAY);
  });
  input.addEventListener("keydown", (event) => {
    const last = results.length - 1;
    const moves = { ArrowDown: active === last ? 0 : active + 1, ArrowUp: active === 0 ? last : active - 1, PageDown: last, PageUp: 0 };
    if (event.isComposing) return;
    if (event.key === "Enter") run(active);
    else if (event.key in moves && results.length) active = moves[event.key];
    else return;
    event.preventDefault();
    markActive();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside the palette
  dialog.addEventListener("close", () => {
    clearTimeout(timer);
    dialog.remove();
    chosen?.run(); // after the browser has returned the focus
  });
  document.body.append(dialog);
  dialog.showModal();
  show();
}
