// Keys of the list of conversations: one row is in the tab order, arrow keys move to the others.

const STOPS = ".folder-toggle, .folder-menu, .history-open, .history-match, .section-more";

/** `handlers`: `rename(entry)`, `remove(entry)`, `menu(entry, anchor)`, and `draw()`, which draws the rows in view. */
export function addListKeys(root, handlers) {
  root.addEventListener("focusin", ({ target }) => makeTabStop(root, target.closest(".history-row")));
  root.addEventListener("keydown", (event) => onKey(event, root, handlers));
}

/** Escape empties a search box with text, and does nothing else then. */
export function addSearchKeys(box) {
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.isComposing || !box.value) return;
    event.preventDefault();
    box.value = "";
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
  });
}

/** Put one row into the tab order: `row`, the present one, that of the open conversation, or the first one. */
export function makeTabStop(root, row = null) {
  const before = root.querySelector(".history-open[tabindex='0']")?.closest(".history-row");
  const visible = (candidate) => candidate && !candidate.closest("[hidden]");
  const stop = [row, before, root.querySelector(".history-row.current"), root.querySelector("ul:not([hidden]) .history-row")].find(visible);
  if (stop === before && before) return;
  for (const button of before?.querySelectorAll("button") ?? []) button.tabIndex = -1;
  for (const button of stop?.querySelectorAll("button") ?? []) button.tabIndex = 0;
}

function onKey(event, root, handlers) {
  if (event.target.matches("input") || event.altKey) return;
  const row = event.target.closest(".history-row");
  const run = {
    ArrowDown: () => move(root, event.target, 1),
    ArrowUp: () => move(root, event.target, -1),
    Home: () => jump(root, 0, handlers.draw),
    End: () => jump(root, root.scrollHeight, handlers.draw),
    ...(row && {
      F2: () => handlers.rename(row.entry),
      Delete: () => event.repeat || handlers.remove(row.entry), // a held key deletes one conversation
      ContextMenu: () => handlers.menu(row.entry, row.querySelector(".icon-button")),
    }),
    ...(row && event.shiftKey && { F10: () => handlers.menu(row.entry, row.querySelector(".icon-button")) }),
  }[event.key];
  if (!run || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  run();
}

const stops = (root) => [...root.querySelectorAll(STOPS)].filter((element) => !element.closest("[hidden]"));

/** Move the focus to the first or last row that is loaded. */
function jump(root, scrollTop, draw) {
  root.scrollTop = scrollTop;
  draw();
  stops(root).at(scrollTop ? -1 : 0)?.focus();
}

/** Move the focus to the next button below or above. */
function move(root, from, step) {
  const all = stops(root);
  const start = all.indexOf(from.closest(STOPS) ?? from.closest(".history-row")?.querySelector(".history-open"));
  all[Math.max(0, Math.min(all.length - 1, start + step))]?.focus();
}
