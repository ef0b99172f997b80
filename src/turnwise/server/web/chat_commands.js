// Actions and keys of the chat, for the command palette and the list of shortcuts.

import * as api from "./api.js";
import { addCommands, addSearch, addShortcuts, controlKey } from "./commands.js";
import { copyText } from "./dom.js";
import { t } from "./i18n.js";

const MAX_CONVERSATIONS = 20;

/**
 * Add the actions of the chat.
 *
 * @param read returns the present { messages, isRunning, isStored, models }.
 * @param actions what they do: newChat, showSettings, searchConversations, showTree, open(id), retry, stop, editLast,
 *   showCode(index), chooseModel(id).
 */
export function addChatCommands(read, actions) {
  addCommands(() => {
    const { messages, isRunning, isStored, models } = read();
    const answer = messages.findLastIndex(({ role }) => role === "assistant");
    const hasQuestion = messages.some(({ role }) => role === "user");
    return [
      { label: t("New chat"), keys: "Alt N", run: actions.newChat },
      { label: t("Settings"), run: actions.showSettings },
      { label: t("Search conversations"), run: actions.searchConversations },
      ...(isStored ? [{ label: t("Show all branches…"), run: actions.showTree }] : []),
      ...(answer >= 0 ? [
        { label: t("Copy the last answer"), run: () => copyText(messages[answer].content) },
        { label: t("Show the request of the last answer as code"), run: () => actions.showCode(answer) },
      ] : []),
      ...(answer >= 0 && !isRunning ? [{ label: t("Answer again"), run: actions.retry }] : []),
      ...(isRunning ? [{ label: t("Stop"), keys: "Esc", run: actions.stop }] : []),
      ...(hasQuestion && !isRunning ? [{ label: t("Edit the last message"), keys: "↑", run: actions.editLast }] : []),
      ...(models.length > 1 ? models.map(({ id }) => ({ label: t("Model: {name}", { name: id }), run: () => actions.chooseModel(id) })) : []),
    ];
  });
  addSearch(async (query) => {
    const { data } = await api.conversations({ query }); // fails without a store: then there is nothing to find
    return data.slice(0, MAX_CONVERSATIONS).map(({ id, title }) => ({ label: t("Conversation: {title}", { title }), run: () => actions.open(id) }));
  });
  addShortcuts(
    ["Alt N", t("New chat")], ["Enter", t("Send the message")], ["Shift Enter", t("Start a new line")],
    ["F2", t("Rename a conversation in the list")], ["Delete", t("Delete a conversation in the list")],
    [controlKey("Z"), t("Take a deletion back, for ten seconds")],
    ["↑", t("Edit the last message, if the box is empty")], ["Esc", t("Stop the answer, or close what is open")],
  );
}
