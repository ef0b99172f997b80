// The messages of a conversation that a person has taken over. All text is plain: nothing becomes markup.

import { make } from "./dom.js";
import { t } from "./i18n.js";
import { updateList } from "./keyed_list.js";

const AUTHORS = {
  customer: t("Customer"), model: t("Assistant"), person: t("Person"), notice: t("Notice"), system: t("System"),
};

/** Show messages, and scroll to the last one if there are new ones. */
export function showMessages(list, messages) {
  const before = list.childElementCount;
  updateList(list, messages, ({ id }) => id, createMessage, updateMessage);
  if (list.childElementCount > before) list.scrollTop = list.scrollHeight;
}

const createMessage = () => make("div", {}, make("p", { class: "handoff-author", dir: "auto" }), make("p", { class: "handoff-text", dir: "auto" }));

function updateMessage(row, { author, name, text }) {
  row.className = `handoff-message from-${author}`;
  const [heading, body] = row.children;
  heading.textContent = name ?? AUTHORS[author];
  body.textContent = text;
}
