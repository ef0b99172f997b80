// Dragging conversations to folders.

const TYPE = "application/x-turnwise-conversations";

/** `list` is the `History`; `root` has its groups. */
export function addDragging(list, root) {
  let dragged = []; // entries, of this window
  root.addEventListener("dragstart", (event) => {
    const row = event.target.closest?.(".history-row");
    if (!row) return;
    const { ids } = list.selection;
    const moved = ids.has(row.entry.id) ? [...ids] : [row.entry.id];
    dragged = moved.map((id) => list.entry(id)).filter(Boolean);
    event.dataTransfer.setData(TYPE, JSON.stringify(moved));
    event.dataTransfer.effectAllowed = "move";
  });
  /** The group that a drop moves conversations to: a folder, or a date for none; not the one that they are in. */
  const target = (event) => {
    const group = event.dataTransfer.types.includes(TYPE) ? event.target.closest?.(".history-group") : null;
    if (!group || ["found", "pinned"].includes(group.dataset.group)) return null;
    const isOwn = dragged.length > 0 && dragged.every(({ folder_id: folder }) => (folder ?? "") === (group.dataset.folder ?? ""));
    return isOwn ? null : group;
  };
  root.addEventListener("dragover", (event) => {
    const group = target(event);
    mark(root, group);
    if (group) event.preventDefault();
  });
  root.addEventListener("dragleave", (event) => root.contains(event.relatedTarget) || mark(root, null));
  root.addEventListener("dragend", () => {
    dragged = [];
    mark(root, null);
  });
  root.addEventListener("drop", (event) => {
    const group = target(event);
    mark(root, null);
    if (!group) return;
    event.preventDefault();
    const ids = JSON.parse(event.dataTransfer.getData(TYPE)); // empty after the event
    const actions = import("./history_actions.js");
    actions.then(({ moveTo }) => moveTo(list, ids, group.dataset.folder ?? "")).catch((error) => list.handlers.failed(error));
  });
}

function mark(root, group) {
  for (const marked of root.querySelectorAll(".drop-target")) if (marked !== group) marked.classList.remove("drop-target");
  group?.classList.add("drop-target");
}
