// Scrolls to a message, and marks it for a moment.

const MARKED_MS = 2000;

/** `thread`: the `Thread`. Does nothing if the message is not shown. */
export function revealMessage(thread, id) {
  const entry = thread.entryAt(thread.shown.findIndex(({ message }) => message.id === id));
  if (!entry) return;
  entry.scrollIntoView({ block: "center", behavior: "instant" });
  entry.tabIndex = -1;
  entry.focus({ preventScroll: true });
  entry.classList.add("revealed");
  setTimeout(() => entry.classList.remove("revealed"), MARKED_MS);
}
