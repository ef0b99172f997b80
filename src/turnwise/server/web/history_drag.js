// Dragging conversations to folders.

import { moveTo } from "./history_actions.js";

const TYPE = "application/x-turnwise-conversations";

/** `list` is the `History`; `root` has its groups. */
export function addDragging(list, root) {
  root.addEventListener("dragstart", (event) => {
    const row = event.target.closest?.(".history-row");
    if (!row) return;
    const { ids } = list.selection;
    const dragged = ids.has(row.entry.id) ? [...ids] : [row.entry.id];
    event.dataTransfer.setData(TYPE, JSON.stringify(dragged));
    event.dataTransfer.effectAllowed = "move";
  });
  const target = (event) => (event.dataTransfer.types.includes(TYPE) ? event.target.closest?.(".history-group") : null);
  root.addEventListener("dragover", (event) => {
    const group = target(event);
    mark(root, group);
    if (group) event.preventDefault();
  });
  root.addEventListener("dragleave", (event) => root.contains(event.relatedTarget) || mark(root, null));
  root.addEventListener("dragend", () => mark(root, null));
  root.addEventListener("drop", (event) => {
    const group = target(event);
    mark(root, null);
    if (!group) return;
    event.preventDefault();
    moveTo(list, JSON.parse(event.dataTransfer.getData(TYPE)), group.dataset.folder ?? "");
  });
}

function mark(root, group) {
  for (const marked of root.querySelectorAll(".drop-target")) if (marked !== group) marked.classList.remove("drop-target");
  group?.classList.add("drop-target");
}
