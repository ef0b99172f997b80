// Updates a list in place, so that scroll position, focus and opened entries stay.

/**
 * Make the children of `parent` those of `entries`, in their order. The element of an entry stays the same as long as
 * its key is in the list.
 *
 * @param parent element whose children all come from this function.
 * @param entries the new entries.
 * @param key returns the unique key of an entry.
 * @param create returns a new element for an entry.
 * @param update changes an element to show an entry; called if the entry is new or differs from the one before.
 */
export function updateList(parent, entries, key, create, update) {
  const elements = new Map([...parent.children].map((element) => [element.listKey, element]));
  const keys = new Set(entries.map(key));
  for (const [name, element] of elements) if (!keys.has(name)) element.remove();
  const focused = document.activeElement;
  let next = parent.firstElementChild;
  for (const entry of entries) {
    const name = key(entry);
    let element = elements.get(name);
    if (!element) {
      element = create(entry);
      element.listKey = name;
    }
    const content = JSON.stringify(entry);
    if (element.listContent !== content) {
      update(element, entry);
      element.listContent = content;
    }
    if (element === next) next = next.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  if (focused !== document.activeElement && parent.contains(focused)) focused.focus({ preventScroll: true }); // it moved
}

/** Replace what is in `parent`. If a button or a link in it had the focus, the new one of the same name gets it. */
export function replaceParts(parent, ...parts) {
  const name = (element) => element.ariaLabel ?? element.textContent;
  const focused = parent.contains(document.activeElement) && name(document.activeElement);
  parent.replaceChildren(...parts);
  if (focused) [...parent.querySelectorAll("a, button")].find((element) => name(element) === focused)?.focus({ preventScroll: true });
}

/** Run `change` and scroll so that `anchor` stays where it is on the screen. */
export function keepInPlace(anchor, change) {
  const before = anchor?.getBoundingClientRect().top;
  change();
  if (!anchor?.isConnected) return;
  const moved = anchor.getBoundingClientRect().top - before;
  if (moved) scrollBy({ top: moved, behavior: "instant" });
}
