"""Pages of lists."""

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel

from turnwise.core.errors import InvalidParameter
from turnwise.core.stored_completions import SortOrder

PageLimit = Annotated[int, Query(ge=1, le=100)]


class ListPage(BaseModel):
    """A page of a list. `after` with `last_id` requests the next page."""

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, entries: list[dict[str, Any]], has_more: bool) -> "ListPage":
        """Create a page from its entries."""
        ids = [entry["id"] for entry in entries] or [None]
        return cls(data=entries, first_id=ids[0], last_id=ids[-1], has_more=has_more)

    @classmethod
    def paginate(
        cls, entries: list[dict[str, Any]], parent: str, limit: int, after: str | None, order: SortOrder
    ) -> "ListPage":
        """Create a page from all entries of `parent`, which are sorted by time. Raises `InvalidParameter`."""
        if order == "desc":
            entries = entries[::-1]
        if after is not None:
            ids = [entry["id"] for entry in entries]
            if after not in ids:
                raise InvalidParameter("after", f"'after' is not the id of an entry of '{parent[:60]}'.")
            entries = entries[ids.index(after) + 1 :]
        return cls.of(entries[:limit], len(entries) > limit)
