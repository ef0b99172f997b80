"""Builds a text monitor from its configuration: store, models, sources, receivers."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from turnwise.app.monitor.alert_texts import ChatSummary, SummaryWriter
from turnwise.app.monitor.classifier_identity import ClassifierIdentity
from turnwise.app.monitor.default_sentiment import sentiment_classifier
from turnwise.app.monitor.detection import load_detection
from turnwise.app.monitor.http_client import short_url
from turnwise.app.monitor.monitor_config import MonitorConfig, SourceConfig
from turnwise.app.monitor.pipeline import MonitorPipeline
from turnwise.app.monitor.pipeline_settings import PipelineSettings
from turnwise.app.monitor.sentiment import SentimentLabeller
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.app.monitor.text_intake import MAX_FUTURE_SECONDS
from turnwise.app.monitor.topic_rules import EntityTopics, RuleTopics, TopicFinder, load_topic_rules
from turnwise.app.monitor.webhooks import Webhook, make_webhook
from turnwise.app.monitor.window_counter import WindowSettings
from turnwise.core.errors import InvalidParameter
from turnwise.core.monitor_store import MonitorStore
from turnwise.core.stream_texts import TextSource
from turnwise.store import open_monitor_store

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class OpenMonitor:
    """An open monitor.

    Attributes:
        pipeline: processes batches.
        store: its store.
        webhooks: receivers of its events.
    """

    pipeline: MonitorPipeline
    store: MonitorStore
    webhooks: tuple[Webhook, ...]


@contextmanager
def open_monitor(config: MonitorConfig, *, is_recording: bool = False) -> Iterator[OpenMonitor]:
    """Open a monitor; it is closed when the block ends.

    Args:
        config: the configuration.
        is_recording: texts are recordings: their times may be in the future, and no event is sent.

    Raises:
        UserError: a model, file, setting or secret is missing or invalid.
        Unavailable: another monitor runs on the store.
    """
    detection = load_detection(config.detector)
    webhooks = () if is_recording else open_webhooks(config)
    topics = _open_topics(config)
    labelled_by, _ = sentiment_classifier(config.classifier)
    with ExitStack() as stack:
        store = open_monitor_store(config.store_url)
        stack.callback(store.close)
        store.claim()
        pipeline = MonitorPipeline(
            store,
            detection,
            topics,
            _open_labeller(labelled_by, config),
            PipelineSettings(
                WindowSettings(
                    detection.window_seconds,
                    config.window_lateness_seconds,
                    config.max_gap_hours * SECONDS_PER_HOUR,
                ),
                max_future_seconds=None if is_recording else MAX_FUTURE_SECONDS,
                keep_texts_days=config.keep_texts_days,
                keep_ids_days=config.keep_ids_days,
                keep_counts_days=config.keep_counts_days,
                labelled_by=_identity(labelled_by),
            ),
            [webhook.url for webhook in webhooks],
            _open_summaries(config, stack),
        )
        yield OpenMonitor(pipeline, store, webhooks)


@contextmanager
def open_sources(configs: Sequence[SourceConfig]) -> Iterator[list[TextSource]]:
    """Open sources; they are closed when the block ends. Raises `UserError` if one cannot be used."""
    with ExitStack() as stack:
        sources = []
        for config in configs:
            source = _open_source(config)
            stack.callback(source.close)
            sources.append(source)
        yield sources


def open_webhooks(config: MonitorConfig) -> tuple[Webhook, ...]:
    """The receivers, with the secrets from the environment. Raises `InvalidParameter`."""
    webhooks = []
    for webhook in config.webhooks:
        secrets = os.environ.get(webhook.secret_env, "")
        if not secrets:
            raise InvalidParameter(
                "webhooks",
                f"Set the environment variable {webhook.secret_env} to the secret of {short_url(webhook.url)}; "
                "`turnwise monitor secret` creates one.",
            )
        webhooks.append(make_webhook(webhook.url, secrets))
    return tuple(webhooks)


def _open_source(config: SourceConfig) -> TextSource:
    name = config.source_name
    records = TextRecords(name, config.fields)
    if config.kind == "file" and config.path is not None:
        from turnwise.app.monitor.sources.file_source import FileSource

        return FileSource(config.path, records, name)
    if config.kind == "folder" and config.path is not None:
        from turnwise.app.monitor.sources.folder_source import FolderSource

        return FolderSource(config.path, records, name)
    if config.kind == "feed" and config.url is not None:
        from turnwise.app.monitor.sources.feed_source import FeedSource

        return FeedSource(config.url, name, config.poll_seconds)
    if config.kind == "push" and config.url is not None:
        from turnwise.app.monitor.sources.push_source import PushSource

        token = os.environ.get(config.token_env, "") if config.token_env else None
        return PushSource(config.url, records, name, token)
    from turnwise.app.monitor.sources.pipe_source import PipeSource

    if sys.stdin is None:  # the shell closed it: `<&-`
        raise InvalidParameter("source", "Standard input is closed.")
    return PipeSource(sys.stdin.fileno(), records, name)


def _open_topics(config: MonitorConfig) -> TopicFinder:
    if config.entities is not None:
        from turnwise.app.classifiers import open_classifier

        return EntityTopics(
            open_classifier(config.entities.model, quantize=config.entities.quantize), config.entities.labels
        )
    rules = (
        config.topics if isinstance(config.topics, tuple) else load_topic_rules(config.topics) if config.topics else ()
    )
    return RuleTopics(rules)


def _open_labeller(model: str | None, config: MonitorConfig) -> SentimentLabeller:
    if model is None:
        if config.classifier_quantize is not None:
            raise InvalidParameter(
                "classifier_quantize", "There is no classifier of sentiment to quantize: name one with --classifier."
            )
        return SentimentLabeller(None, config.negative_labels)
    from turnwise.app.classifiers import open_classifier

    classifier = open_classifier(model, quantize=config.classifier_quantize)
    return SentimentLabeller(classifier, config.negative_labels)


def _identity(model: str | None) -> ClassifierIdentity:
    if model is None:
        return ClassifierIdentity()
    from turnwise.app.classifiers import classifier_digest

    return ClassifierIdentity(model, classifier_digest(model))


def _open_summaries(config: MonitorConfig, stack: ExitStack) -> SummaryWriter | None:
    if config.summaries is None:
        return None
    from turnwise.app.chat_services import open_chat_service

    return ChatSummary(stack.enter_context(open_chat_service(config.summaries)))
