"""Log formats: text lines, or JSON objects."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

LogFormat = Literal["text", "json"]


class JsonFormatter(logging.Formatter):
    """Formats every record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record: the fields of the access log, or else the message."""
        timestamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        content: dict[str, Any] = {"time": timestamp, "level": record.levelname.lower()}
        fields = getattr(record, "fields", None)
        content.update({"message": record.getMessage()} if fields is None else fields)
        return json.dumps(content, ensure_ascii=False)


def make_formatter(log_format: LogFormat) -> logging.Formatter:
    """Return the formatter for a log format."""
    if log_format == "json":
        return JsonFormatter()
    return logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S")
