"""Bodies of `/v1/datasets`."""

from typing import Any, Literal

from pydantic import BaseModel

from turnwise.core.datasets import Dataset, DatasetCheck, DatasetPage, DatasetRow


class DatasetBody(BaseModel):
    """A data set. `bytes` is the size of its file; one that is `bundled` cannot be deleted."""

    id: str
    object: Literal["dataset"] = "dataset"
    bytes: int
    created: float
    bundled: bool

    @classmethod
    def of(cls, dataset: Dataset) -> "DatasetBody":
        """Convert a data set."""
        return cls(id=dataset.name, bytes=dataset.num_bytes, created=dataset.added, bundled=dataset.is_bundled)


class DatasetList(BaseModel):
    """The data sets, the newest first, then the bundled ones."""

    object: Literal["list"] = "list"
    data: list[DatasetBody]


class DeletedDataset(BaseModel):
    """Confirmation of a deletion."""

    id: str
    object: Literal["dataset.deleted"] = "dataset.deleted"
    deleted: Literal[True] = True


class DialogueBody(BaseModel):
    """A row of a data set: a dialogue with `messages`, or a plain `text`. `problem` says why it cannot be shown.

    `index` is its position among all rows, from 0; `line` is where it starts in the file, from 1.
    """

    object: Literal["dataset.dialogue"] = "dataset.dialogue"
    index: int
    line: int
    messages: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    tools: list[Any]
    rating: bool | None
    text: str | None
    meta: dict[str, Any]
    problem: str | None

    @classmethod
    def of(cls, row: DatasetRow) -> "DialogueBody":
        """Convert a row."""
        content = row.content
        lists = {name: content.get(name, []) for name in ("messages", "rejected", "tools")}
        return cls(
            index=row.index, line=row.line, **lists, rating=content.get("rating"), text=content.get("text"),
            meta=content.get("meta", {}), problem=row.problem or None,
        )  # fmt: skip


class DialogueList(BaseModel):
    """Some rows of a data set.

    `total` grows until `complete` is true. `offset` with `next_offset` requests the next page; null after the last one.
    `stopped_early`: the search used up its time before the page was full.
    """

    object: Literal["list"] = "list"
    data: list[DialogueBody]
    total: int
    complete: bool
    next_offset: int | None
    stopped_early: bool

    @classmethod
    def of(cls, page: DatasetPage) -> "DialogueList":
        """Convert a page."""
        return cls(
            data=[DialogueBody.of(row) for row in page.rows], total=page.num_rows, complete=page.is_complete,
            next_offset=page.next_offset, stopped_early=page.is_stopped_early,
        )  # fmt: skip


class LengthBody(BaseModel):
    """Distribution of a length over the rows. `p90` is the 90th percentile."""

    min: int
    median: int
    p90: int
    max: int
    total: int


class FindingBody(BaseModel):
    """A finding of the check. `rows` is the number of rows that can be listed with it."""

    kind: str
    severity: Literal["problem", "warning", "note"]
    count: int
    message: str
    advice: str
    rows: int


class ReportBody(BaseModel):
    """What `turnwise data check` reports."""

    verdict: str
    usable: bool
    rows: int
    bad_rows: int
    conversations: int
    documents: int
    generated: int
    messages: dict[str, int]
    lengths: dict[str, LengthBody]
    language: str
    findings: list[FindingBody]


class DatasetCheckBody(BaseModel):
    """The check of a data set. `share` of the file has been read; `report` is null until it is completed."""

    id: str
    object: Literal["dataset.check"] = "dataset.check"
    status: Literal["in_progress", "completed", "failed"]
    share: float
    rows: int
    report: ReportBody | None
    error: str | None

    @classmethod
    def of(cls, name: str, check: DatasetCheck) -> "DatasetCheckBody":
        """Convert a check."""
        status: Any = {"running": "in_progress", "complete": "completed", "failed": "failed"}[check.state]
        report = None
        if check.report is not None:
            findings = [{**finding, "rows": len(finding["rows"])} for finding in check.report["findings"]]
            report = ReportBody.model_validate({**check.report, "findings": findings})
        return cls(
            id=name, status=status, share=round(check.share, 4), rows=check.num_rows, report=report,
            error=check.error or None,
        )  # fmt: skip
