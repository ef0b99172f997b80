"""Prepares conversations of a file for the store: bounds of the API, consent, and batches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from turnwise.core.collected_answers import Consent, stricter_consent
from turnwise.core.conversation_folders import MAX_FOLDER_NAME_CHARS
from turnwise.core.conversation_trees import ConversationTree, FileProblem, ParsedConversations, TreeMessage
from turnwise.core.errors import InvalidParameter
from turnwise.server.schema.conversation_request import MAX_MODEL_CHARS, MAX_TITLE_CHARS
from turnwise.server.schema.conversation_settings import check_settings

BATCH_MESSAGES, BATCH_CHARS = 2000, 8 * 2**20  # of a transaction, so that it ends well within the writer's time limit


def prepare_trees(
    parsed: ParsedConversations, name: str, consent: Consent
) -> tuple[list[ConversationTree], list[FileProblem]]:
    """The conversations that can be stored, and the problems of the others.

    Args:
        parsed: what the file has.
        name: name of the file, for the problems.
        consent: the most that may be collected; a stricter consent of a message in the file holds.
    """
    trees, problems = list[ConversationTree](), list(parsed.problems)
    for tree in parsed.trees:
        title = _one_line(tree.title or _first_words(tree))
        try:
            settings = check_settings(dict(tree.settings)) if tree.settings else {}
        except InvalidParameter as error:
            position = f"{name}, conversation “{title[:60]}”"
            problems.append(FileProblem(position, f"its settings are invalid: {error}"))
            continue
        prepared = replace(
            tree, title=title[:MAX_TITLE_CHARS], folder=_one_line(tree.folder)[:MAX_FOLDER_NAME_CHARS].rstrip(),
            model=tree.model[:MAX_MODEL_CHARS], settings=settings,
            messages=tuple(replace(entry, meta=_meta(entry, consent)) for entry in tree.messages),
        )  # fmt: skip
        trees.append(prepared)
    return trees, problems


def split_into_batches(trees: Sequence[ConversationTree]) -> Iterator[list[ConversationTree]]:
    """Yield the conversations in groups, each small enough for one transaction. A large one is a group of its own."""
    batch, num_messages, num_chars = list[ConversationTree](), 0, 0
    for tree in trees:
        chars = sum(len(entry.message.content) for entry in tree.messages)
        if batch and (num_messages + len(tree.messages) > BATCH_MESSAGES or num_chars + chars > BATCH_CHARS):
            yield batch
            batch, num_messages, num_chars = [], 0, 0
        batch.append(tree)
        num_messages, num_chars = num_messages + len(tree.messages), num_chars + chars
    if batch:
        yield batch


def _meta(entry: TreeMessage, consent: Consent) -> dict[str, Any]:
    meta = dict(entry.meta)
    if "model" in meta:
        meta["model"] = meta["model"][:MAX_MODEL_CHARS]
    return {**meta, "consent": stricter_consent(consent, meta.get("consent", consent))}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _first_words(tree: ConversationTree) -> str:
    text = next((entry.message.content for entry in tree.messages if entry.message.role == "user"), "")
    return text if len(text) <= 60 else f"{text[:59].rstrip()}…"
