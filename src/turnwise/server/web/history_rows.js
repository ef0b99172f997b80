// Draws the groups of the list of conversations, and their rows that are in view. Elements stay as long as they are drawn.

import { iconButton, icon, make } from "./dom.js";
import { t } from "./i18n.js";

const OVERSCAN_ROWS = 25; // above and below the view, for quick scrolling and the arrow keys

/**
 * Show groups in `root`. All rows of a group have the same height, so that only those in view are drawn.
 *
 * @param root element whose children all come from this function.
 * @param groups `{ key, label, entries, folder, isExpanded, hasMore }`; `folder` for a folder.
 * @param state `{ current, selected, isSelecting }`: id of the open conversation, ids of the selected ones.
 * @param handlers `open(entry)`, `jump(entry)`, `menu(entry, anchor)`, `select(entry, event)`, `toggleFolder(folder)`,
 *   `folderMenu(folder, anchor)`, `loadMore(key)`.
 */
export function drawGroups(root, groups, state, handlers) {
  const elements = new Map([...root.children].map((element) => [element.groupKey, element]));
  const keys = new Set(groups.map(({ key }) => key));
  for (const [key, element] of elements) if (!keys.has(key)) element.remove();
  keepFocus(root, () => {
    let next = root.firstElementChild;
    for (const group of groups) {
      const element = elements.get(group.key) ?? createGroup(group, handlers);
      updateGroup(element, group);
      if (element === next) next = next.nextElementSibling;
      else root.insertBefore(element, next);
    }
    drawVisibleRows(root, state, handlers);
  });
}

/** Draw the rows in view, after scrolling. The row with the focus stays drawn. */
export function drawVisibleRows(root, state, handlers) {
  const style = getComputedStyle(root);
  const heights = ["--row-height", "--match-row-height"].map((name) => parseFloat(style.getPropertyValue(name)));
  const lists = [...root.querySelectorAll("ul:not([hidden])")].map((list) => {
    const height = heights[Number(list.entries.some(({ match }) => match))];
    list.style.height = `${list.entries.length * height}px`;
    return { list, height };
  });
  const { top, height: viewHeight } = root.getBoundingClientRect();
  for (const entry of lists) entry.offset = top - entry.list.getBoundingClientRect().top; // all are read before any is changed
  for (const { list, height, offset } of lists) {
    const first = Math.floor(offset / height) - OVERSCAN_ROWS;
    const last = Math.ceil((offset + viewHeight) / height) + OVERSCAN_ROWS;
    updateRows(list, { first: Math.max(0, first), last: Math.max(0, last), height }, state, handlers);
  }
}

/** Run `change`; a row that moved keeps the focus, also in another group. */
function keepFocus(root, change) {
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  const id = focused?.closest(".history-row")?.dataset.id;
  change();
  if (!focused || focused === document.activeElement) return;
  const target = root.contains(focused) ? focused : id && root.querySelector(`[data-id="${CSS.escape(id)}"] .history-open`);
  if (target) target.focus({ preventScroll: true });
}

function createGroup({ key, label, folder }, handlers) {
  const id = `group-${key}`;
  const list = make("ul", { class: "history-list" });
  list.entries = [];
  list.setAttribute("aria-labelledby", id);
  const heading = make("h2", { class: "history-heading", id, dir: "auto" });
  const section = make("section", { class: "history-group" }, heading, list);
  section.groupKey = key;
  section.dataset.group = key;
  if (!folder) heading.textContent = label;
  else {
    section.dataset.folder = folder.id;
    const toggle = make("button", { type: "button", class: "folder-toggle", "aria-expanded": "false", onclick: () => handlers.toggleFolder(section.folder) });
    const menu = iconButton("more", "", () => handlers.folderMenu(section.folder, menu));
    menu.classList.add("folder-menu");
    menu.setAttribute("aria-haspopup", "menu");
    heading.append(toggle, menu);
  }
  section.append(make("button", { type: "button", class: "quiet-button section-more", hidden: true, onclick: () => handlers.loadMore(key) }, t("Show more")));
  return section;
}

function updateGroup(section, { label, entries, folder, isExpanded = true, hasMore = false }) {
  const list = section.querySelector("ul");
  if (folder) {
    section.folder = folder;
    const toggle = section.querySelector(".folder-toggle");
    toggle.setAttribute("aria-expanded", String(isExpanded));
    toggle.replaceChildren(icon("folder"), make("span", { class: "folder-name", dir: "auto" }, label), make("span", { class: "folder-count" }, String(folder.num_conversations)));
    const menu = section.querySelector(".folder-menu");
    menu.title = t("Actions for the folder “{name}”", { name: label });
    menu.setAttribute("aria-label", menu.title);
  }
  section.querySelector(".section-more").hidden = !isExpanded || !hasMore;
  list.hidden = !isExpanded;
  list.entries = entries;
}

function updateRows(list, { first, last, height }, state, handlers) {
  const { entries } = list;
  const focused = document.activeElement?.closest?.(".history-row");
  const focusedIndex = list.contains(focused) ? entries.findIndex(({ id }) => id === focused.dataset.id) : -1;
  const indexes = [];
  for (let index = first; index < Math.min(last, entries.length); index += 1) indexes.push(index);
  if (focusedIndex >= 0 && focusedIndex < first) indexes.unshift(focusedIndex);
  if (focusedIndex >= last) indexes.push(focusedIndex);
  const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
  const ids = new Set(indexes.map((index) => entries[index].id));
  for (const [id, row] of rows) if (!ids.has(id)) row.remove();
  let next = list.firstElementChild;
  for (const index of indexes) {
    const entry = entries[index];
    const row = rows.get(entry.id) ?? createRow(entry, handlers);
    updateRow(row, entry, state);
    const position = `${index} ${entries.length} ${height}`;
    if (row.position !== position) {
      row.position = position;
      row.style.top = `${index * height}px`;
      row.setAttribute("aria-posinset", String(index + 1));
      row.setAttribute("aria-setsize", String(entries.length));
    }
    if (row === next) next = next.nextElementSibling;
    else list.insertBefore(row, next);
  }
}

function createRow(entry, handlers) {
  const row = make("li", { class: "history-row", draggable: true });
  row.dataset.id = entry.id;
  const open = make("button", { type: "button", class: "history-open", dir: "auto", tabIndex: -1, onclick: (event) => handlers.select(row.entry, event) || handlers.open(row.entry) });
  const menu = iconButton("more", "", () => handlers.menu(row.entry, menu));
  menu.tabIndex = -1;
  menu.setAttribute("aria-haspopup", "menu");
  const match = make("button", { type: "button", class: "history-match", dir: "auto", tabIndex: -1, hidden: true, onclick: () => handlers.jump(row.entry) });
  row.parts = [open, menu, match]; // not in the row while it is renamed
  row.append(...row.parts);
  row.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    handlers.menu(row.entry, menu);
  });
  return row;
}

function updateRow(row, entry, { current, selected, isSelecting }) {
  const isCurrent = entry.id === current;
  const isSelected = isSelecting && selected.has(entry.id);
  const key = `${isCurrent} ${isSelecting} ${isSelected}`;
  if (row.entry === entry && row.stateKey === key) return;
  Object.assign(row, { entry, stateKey: key });
  const [open, menu, match] = row.parts;
  const title = entry.title || t("New chat");
  if (open.textContent !== title) open.textContent = title;
  open.title = title;
  open.toggleAttribute("aria-current", isCurrent);
  if (isCurrent) open.setAttribute("aria-current", "true");
  if (isSelecting) open.setAttribute("aria-pressed", String(isSelected));
  else open.removeAttribute("aria-pressed");
  row.classList.toggle("current", isCurrent);
  row.classList.toggle("selected", isSelected);
  row.classList.toggle("pinned", entry.pinned);
  menu.title = t("Actions for “{title}”", { title });
  menu.setAttribute("aria-label", menu.title);
  menu.hidden = isSelecting;
  match.hidden = !entry.match;
  match.textContent = entry.match?.excerpt ?? "";
  match.title = t("Go to this message");
}
