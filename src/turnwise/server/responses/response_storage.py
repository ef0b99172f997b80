"""Stores responses, and finds what a request refers to: earlier responses, and single items of them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from turnwise.core.errors import InvalidParameter, NotFound
from turnwise.core.stored_responses import ResponseStore, StoredResponse
from turnwise.server.error_responses import truncate
from turnwise.server.responses.input_items import ITEM_REFERENCE, InputItem
from turnwise.server.responses.response_builder import item_id
from turnwise.server.responses.response_object import ResponseBody
from turnwise.server.responses.response_request import PromptFields

_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]+)_\w+")  # as `item_id` creates them
_PREFIXES = {
    "message": "msg", "function_call": "fc", "function_call_output": "fco", "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco", "reasoning": "rs",
}  # fmt: skip


def store_required_error(name: str) -> InvalidParameter:
    """Return the error for a field that needs a store."""
    return InvalidParameter(name, f"'{name}' is not supported: this server stores nothing.", code="unsupported_value")


def read_conversation(
    store: ResponseStore | None, request: PromptFields
) -> tuple[tuple[InputItem, ...], tuple[InputItem, ...]]:
    """Return the items of the responses that a request continues, and its own items. Raises `InvalidParameter`."""
    history: tuple[InputItem, ...] = ()
    if request.previous_response_id is not None:
        if store is None:
            raise store_required_error("previous_response_id")
        history = previous_items(store, request.previous_response_id)
    return history, resolve_references(store, request.input)


def previous_items(store: ResponseStore, id: str) -> tuple[InputItem, ...]:
    """Return the items of a response and of all that it continues. Raises `InvalidParameter` if one is missing."""
    try:
        chain = store.chain(id)
    except NotFound as error:
        raise InvalidParameter(
            "previous_response_id", f"{error} Send the conversation as 'input' instead.",
            code="previous_response_not_found",
        ) from None  # fmt: skip
    return tuple(InputItem("input", item) for stored in chain for item in (*stored.input, *stored.body["output"]))


def resolve_references(store: ResponseStore | None, items: Iterable[InputItem]) -> tuple[InputItem, ...]:
    """Return the items with every reference replaced by its item. Raises `InvalidParameter`."""
    return tuple(_resolve_reference(store, item) if item.body["type"] == ITEM_REFERENCE else item for item in items)


def _resolve_reference(store: ResponseStore | None, item: InputItem) -> InputItem:
    id = str(item.body["id"])
    match = _ITEM_ID.fullmatch(id)
    if store is not None and match is not None:
        try:
            stored = store.get(f"resp_{match[1]}")
        except NotFound:
            stored = None
        for body in () if stored is None else (*stored.input, *stored.body["output"]):
            if body["id"] == id:
                return InputItem(item.path, body)
    raise InvalidParameter(
        f"{item.path}.id",
        f"'{item.path}.id' is not the id of a stored item: {truncate(repr(id))}. Send the item itself.",
        code="item_not_found",
    )


def stored_response(body: ResponseBody, items: Iterable[InputItem]) -> StoredResponse:
    """Return a response and its input for the store; input items without an id get one."""
    input_items = tuple(_with_id(item.body, body.id, i) for i, item in enumerate(items))
    return StoredResponse(body.id, body.created_at, body.previous_response_id, input_items, body.dump())


def _with_id(item: Mapping[str, Any], response_id: str, index: int) -> Mapping[str, Any]:
    return {**item, "id": item["id"] or item_id(_PREFIXES[str(item["type"])], response_id, f"in{index}")}
