// A dialog with the tree of a conversation: all turns of all branches.

import * as api from "./api.js";
import { conversationTree } from "./conversations_api.js";
import { icon, make } from "./dom.js";
import { t } from "./i18n.js";

const MAX_EXCERPT_CHARS = 90;
const MAX_INDENT = 8; // levels; deeper ones keep this indentation

/**
 * Show the tree until the user closes it.
 *
 * @param id the conversation.
 * @param handlers `go(messageId)` shows the branch of a turn, `fork(messageId)` copies it.
 */
export async function showConversationTree(id, { go, fork }) {
  const [conversation, feedback] = await Promise.all([conversationTree(id), api.conversationFeedback(id).catch(() => [])]);
  const turns = layOut(conversation.tree);
  const ratings = new Map(feedback.filter(({ rating }) => rating).map(({ message_id: message, rating }) => [message, rating]));
  const shown = new Set(conversation.messages.map(({ id: message }) => message));
  const items = turns.map((turn) => treeItem(turn, { isShown: shown.has(turn.id), rating: ratings.get(turn.id) }));
  const tree = make("div", { class: "tree", role: "tree", "aria-label": t("Turns of the conversation") }, ...items);
  const close = (run) => {
    dialog.returnValue = "";
    dialog.close();
    run?.(selected());
  };
  const selected = () => tree.querySelector("[tabindex='0']")?.dataset.id;
  const button = (label, run, className = "quiet-button") => make("button", { type: "button", class: className, onclick: () => close(run) }, label);
  const dialog = make("dialog", { class: "dialog tree-dialog", "aria-labelledby": "tree-title" },
    make("h2", { id: "tree-title" }, t("All branches")),
    make("p", { class: "dialog-hint" }, t("{turns} turns, {branches} branches. Enter shows the branch of a turn.", {
      turns: turns.length, branches: turns.filter(({ numChildren }) => !numChildren).length,
    })),
    tree,
    make("div", { class: "dialog-buttons" },
      button(t("Close"), null),
      button(t("Continue from here in a new conversation"), fork),
      button(t("Show this branch"), go, "primary-button")),
  );
  tree.addEventListener("click", ({ target }) => {
    const item = target.closest("[role='treeitem']");
    if (!item) return;
    select(items, item);
    if (target.closest(".tree-text")) close(go);
  });
  tree.addEventListener("keydown", (event) => onKey(event, items, () => close(go)));
  document.body.append(dialog);
  dialog.showModal();
  const head = items.find(({ dataset }) => dataset.id === conversation.head) ?? items[0];
  if (head) select(items, head);
  head?.scrollIntoView({ block: "center" });
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  dialog.remove();
}

/** Turns from top to bottom, with a level that grows at each fork only: a conversation without forks is a plain list. */
export function layOut(messages) {
  const children = new Map();
  for (const message of messages) {
    if (!children.has(message.parent_id)) children.set(message.parent_id, []);
    children.get(message.parent_id).push(message);
  }
  const turns = [];
  const roots = children.get(null) ?? [];
  const pending = roots.map((message) => ({ message, level: 1, siblings: roots })).reverse();
  while (pending.length) {
    const { message, level, siblings } = pending.pop();
    const below = children.get(message.id) ?? [];
    turns.push({ ...message, level, position: siblings.indexOf(message) + 1, numSiblings: siblings.length, numChildren: below.length });
    const nextLevel = below.length > 1 ? level + 1 : level;
    for (const child of below.toReversed()) pending.push({ message: child, level: nextLevel, siblings: below });
  }
  return turns;
}

function treeItem(turn, { isShown, rating }) {
  const speakers = { user: t("You"), assistant: t("Assistant") };
  const speaker = turn.meta.person || (speakers[turn.role] ?? t("Instructions"));
  const words = turn.content.replace(/\s+/g, " ").trim();
  const excerpt = words.length > MAX_EXCERPT_CHARS ? `${words.slice(0, MAX_EXCERPT_CHARS - 1)}…` : words;
  const ratings = { up: t("rated good"), down: t("rated bad") };
  const facts = [
    turn.numSiblings > 1 && t("version {number} of {count}", { number: turn.position, count: turn.numSiblings }),
    turn.role === "assistant" && turn.meta.model, ratings[rating],
  ].filter(Boolean).join(" · ");
  const item = make("div", { class: isShown ? "tree-item shown" : "tree-item", role: "treeitem", tabIndex: -1, "aria-level": String(turn.level), "aria-selected": "false" },
    icon(turn.numSiblings > 1 ? "fork" : "right"),
    make("span", { class: "tree-text" },
      make("strong", {}, speaker), " ", make("bdi", {}, excerpt || t("(no text)")),
      ...(facts ? [make("span", { class: "tree-facts" }, facts)] : [])),
  );
  if (isShown) item.setAttribute("aria-current", "true");
  item.dataset.id = turn.id;
  item.dataset.level = turn.level;
  item.style.paddingInlineStart = `${Math.min(turn.level - 1, MAX_INDENT) * 18 + 6}px`;
  return item;
}

function select(items, item) {
  for (const other of items) {
    other.tabIndex = other === item ? 0 : -1;
    other.setAttribute("aria-selected", String(other === item));
  }
  item.focus();
}

/** Up and down: the next turn; left: the turn at the last fork; right: the first turn below the next fork. */
function onKey(event, items, open) {
  const index = items.indexOf(document.activeElement);
  if (index < 0) return;
  const level = (item) => Number(item.dataset.level);
  const target = {
    ArrowDown: () => items[index + 1],
    ArrowUp: () => items[index - 1],
    Home: () => items[0],
    End: () => items.at(-1),
    ArrowLeft: () => items.slice(0, index).findLast((item) => level(item) < level(items[index])),
    ArrowRight: () => items.slice(index + 1).find((item) => level(item) > level(items[index])),
  }[event.key];
  if (target) {
    const item = target();
    if (item) select(items, item);
  } else if (event.key === "Enter" || event.key === " ") open();
  else return;
  event.preventDefault();
}
