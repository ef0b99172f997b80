"""The configuration of a text monitor: a YAML file, or flags of the command line."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from turnwise.app.monitor.sentiment import DEFAULT_NEGATIVE_LABELS
from turnwise.app.monitor.topic_rules import TopicRule
from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.inference import Quantization
from turnwise.core.settings import Settings
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import read_yaml

SourceKind = Literal["file", "folder", "stdin", "feed", "push"]
SECRET_VARIABLE = "TURNWISE_WEBHOOK_SECRET"  # noqa: S105
FEED_DELAY_SECONDS = 120.0  # between the time of an entry and its appearance in the feed
IN_MEMORY = "sqlite:///:memory:"


class SourceConfig(StrictModel):
    """A source of texts.

    Attributes:
        kind: "file", "folder", "stdin", "feed" (RSS or Atom) or "push" (HTTP requests).
        path: the file or folder.
        url: the feed, or the address to listen at, such as http://127.0.0.1:8090.
        name: unique name; it is a part of the ids of texts. Default: kind and path, or URL without its query, which may
            hold a secret.
        fields: keys of the records that have other names: text, time, id, sentiment, topics.
        poll_seconds: pause between two requests to a feed.
        token_env: environment variable with the token that pushed requests must have.
    """

    kind: SourceKind
    path: Path | None = None
    url: str | None = None
    name: str | None = None
    fields: dict[str, str] = Field(default_factory=dict)
    poll_seconds: float = Field(300.0, ge=1)
    token_env: str | None = None

    @property
    def source_name(self) -> str:
        """Unique name of the source."""
        address = self.path or (self.url and re.split(r"[?#]", self.url, maxsplit=1)[0])
        return self.name or (self.kind if address is None else f"{self.kind}:{address}")


class WebhookConfig(StrictModel):
    """A receiver of alerts.

    Attributes:
        url: https, or http to this machine.
        secret_env: environment variable with the secret that signs.
    """

    url: str
    secret_env: str = SECRET_VARIABLE


class EntityConfig(StrictModel):
    """Topics that a tagger finds.

    Attributes:
        model: folder of the tagger.
        quantize: "int8" quantizes the weights of the tagger.
        labels: labels that are topics, such as ORG. Default: all.
    """

    model: str
    quantize: Quantization | None = None
    labels: tuple[str, ...] = ()


class MonitorConfig(StrictModel):
    """The configuration.

    Attributes:
        db: store: a file or sqlite:///FILE. Default: a file in TURNWISE_HOME.
        sources: where texts come from.
        topics: a topic file, or the topics.
        entities: topics that a tagger finds, instead of `topics`.
        classifier: name or folder of the classifier of sentiment, or "none". Default: see `default_sentiment.py`.
        classifier_quantize: "int8" quantizes the weights of that classifier.
        negative_labels: labels that count as negative.
        detector: settings of the detector that differ from their defaults.
        lateness_seconds: how much older than the newest text a text may be and still be counted. With feeds it is at
            least the longest `poll_seconds` and two minutes.
        max_gap_hours: a longer time without texts is an outage, not a quiet time.
        webhooks: receivers of alerts.
        summaries: chat model that describes alerts.
        keep_texts_days: days that texts are kept; those of alerts stay.
        keep_ids_days: days that ids of texts are remembered.
        keep_counts_days: days that counts are kept.
    """

    db: str | None = None
    sources: tuple[SourceConfig, ...] = ()
    topics: Path | tuple[TopicRule, ...] | None = None
    entities: EntityConfig | None = None
    classifier: str | None = None
    classifier_quantize: Quantization | None = None
    negative_labels: tuple[str, ...] = DEFAULT_NEGATIVE_LABELS
    detector: dict[str, Any] = Field(default_factory=dict)
    lateness_seconds: float = Field(120.0, ge=0)
    max_gap_hours: float = Field(2.0, gt=0)
    webhooks: tuple[WebhookConfig, ...] = ()
    summaries: str | None = None
    keep_texts_days: float = Field(7.0, gt=0)
    keep_ids_days: float = Field(30.0, gt=0)
    keep_counts_days: float = Field(400.0, gt=0)

    @property
    def window_lateness_seconds(self) -> float:
        """The lateness of windows: a feed delivers a text up to `poll_seconds` after it appears."""
        polls = [source.poll_seconds + FEED_DELAY_SECONDS for source in self.sources if source.kind == "feed"]
        return max([self.lateness_seconds, *polls])

    @property
    def store_url(self) -> str:
        """URL of the store."""
        return store_url(self.db)


def store_url(db: str | None) -> str:
    """URL of a store that is given as a file, as a URL, or not at all."""
    if db is None:
        return Settings.from_environment().monitor_url
    return db if "://" in db else f"sqlite:///{db}"


def load_config(path: Path | None, flags: Mapping[str, Any]) -> MonitorConfig:
    """Read a configuration.

    Args:
        path: YAML file; paths in it are relative to its folder. None: only flags.
        flags: keys that replace those of the file.

    Raises:
        InvalidData: the file cannot be read.
        InvalidParameter: a key is unknown or has an invalid value, or keys contradict each other.
    """
    values: Any = {} if path is None else read_yaml(path, "configuration")
    if path is not None and isinstance(values, dict):
        values = _resolve_paths(values, path.parent)
    if isinstance(values, dict):
        replaced = {"entities"} if "topics" in flags else set()
        values = {name: value for name, value in values.items() if name not in replaced} | dict(flags)
    config = parse_strict_model(MonitorConfig, values, origin="flags" if path is None else str(path))
    if (config.topics is None) == (config.entities is None):
        raise InvalidParameter("topics", "Name the topics: `topics` (--topics FILE), or `entities`, and not both.")
    names = [source.source_name for source in config.sources]
    for number, source in enumerate(config.sources):
        needed, unused = ("url", "path") if source.kind in ("feed", "push") else ("path", "url")
        if source.kind != "stdin" and getattr(source, needed) is None:
            raise InvalidParameter("sources", f"A source of the kind '{source.kind}' needs '{needed}'.")
        if getattr(source, unused) is not None or (source.kind == "stdin" and source.path is not None):
            wrong = unused if getattr(source, unused) is not None else "path"
            raise InvalidParameter("sources", f"A source of the kind '{source.kind}' has no '{wrong}'.")
        if names[number] in names[:number]:
            raise InvalidParameter("sources", f"Two sources have the name '{names[number]}': set `name`.")
    return config


def parse_source(value: str) -> dict[str, Any]:
    """A source given as KIND:PATH or KIND:URL, or as "-" for standard input. Raises `InvalidParameter`."""
    if value in ("-", "stdin"):
        return {"kind": "stdin"}
    kind, _, address = value.partition(":")
    kinds = get_args(SourceKind)
    if kind not in kinds:
        raise InvalidParameter(
            "source", f"'{value[:200]}' is not KIND:ADDRESS, such as file:posts.jsonl; {did_you_mean(kind, kinds)}"
        )
    return {"kind": kind, "url" if kind in ("feed", "push") else "path": address}


def _resolve_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values with paths relative to the folder of the file. A model may also be a name, which stays."""

    def resolved(value: Any, *, may_be_name: bool = False) -> Any:
        if not isinstance(value, str) or (may_be_name and not (folder / value).exists()):
            return value
        return str(folder / Path(value).expanduser())

    result = dict(values)
    for key in ("classifier", "summaries"):
        if key in result:
            result[key] = resolved(result[key], may_be_name=True)
    if "topics" in result:
        result["topics"] = resolved(result["topics"])
    if isinstance(db := result.get("db"), str) and "://" not in db:
        result["db"] = resolved(db)
    if isinstance(entities := result.get("entities"), dict) and "model" in entities:
        result["entities"] = {**entities, "model": resolved(entities["model"], may_be_name=True)}
    if isinstance(sources := result.get("sources"), list):
        result["sources"] = [
            {**source, "path": resolved(source["path"])} if isinstance(source, dict) and "path" in source else source
            for source in sources
        ]
    return result
