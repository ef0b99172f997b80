"""Opens models and baselines for evaluation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnwise.app.chat_services import open_chat_service
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.scoped_engine import ScopedEngine
from turnwise.core.inference import Quantization

if TYPE_CHECKING:
    from turnwise.core.response_cache import ResponseCache
    from turnwise.data.read_options import ReadOptions
    from turnwise.evaluation.evaluate import OpenSystem
    from turnwise.evaluation.model_under_test import ModelUnderTest


@dataclass(frozen=True, slots=True)
class BaselineSpec:
    """A baseline and the file of its training dialogues."""

    name: str
    file: Path


def parse_baseline(name: str | None) -> BaselineSpec | None:
    """Parse BASELINE:FILE, such as "retrieval:FILE"; None for any other name, which is a model's."""
    from turnwise.evaluation.baselines import BASELINES

    baseline, _, file = (name or "").partition(":")
    return BaselineSpec(baseline, Path(file)) if file and baseline in BASELINES.names() else None


def check_system_exists(name: str | None, read_options: "ReadOptions | None" = None) -> None:
    """Check that a model folder or a baseline's file exists, without loading it.

    The second system of a comparison is opened after the first one was evaluated, which is late for an error.

    Raises:
        ModelNotFound: the model does not exist.
        InvalidData: the baseline's file does not exist.
    """
    if (baseline := parse_baseline(name)) is not None:
        from turnwise.data.sources import DataSource

        DataSource(baseline.file, options=read_options)
        return
    from turnwise.models.adapter_config import adapter_base_folder, is_adapter
    from turnwise.models.model_folders import read_hf_config

    folder = resolve_model_folder(name)
    read_hf_config(adapter_base_folder(folder) if is_adapter(folder) else folder)


def system_opener(
    name: str | None,
    other_name: str | None,
    cache: "ResponseCache",
    sampling: Mapping[str, Any],
    *,
    read_options: "ReadOptions | None" = None,
    quantize: Quantization | None = None,
    threads: int | None = None,
    serving: Mapping[str, Any] | None = None,
) -> "OpenSystem":
    """Return a function that opens a model or a baseline.

    Args:
        name: a model, or a baseline as in `parse_baseline`.
        other_name: the system that it is compared with; an n-gram baseline uses its tokenizer.
        cache: the cache of earlier responses.
        sampling: generation parameters, with `max_tokens`.
        read_options: how a baseline's file is read.
        quantize: quantization of a model's weights.
        threads: processor threads for a model.
        serving: more arguments of `open_chat_service` for a model, such as `format` and `context_policy`.
    """
    if (baseline := parse_baseline(name)) is None:
        return partial(
            open_model_under_test, name, cache, sampling=sampling, quantize=quantize, threads=threads,
            **(serving or {}),
        )  # fmt: skip
    from turnwise.evaluation.baselines import open_baseline

    tokenizer_folder = resolve_model_folder(None if parse_baseline(other_name) else other_name)
    return partial(open_baseline, baseline.name, baseline.file, tokenizer_folder, sampling["max_tokens"], read_options)


@contextmanager
def open_model_under_test(
    model: str | None, cache: "ResponseCache", *, sampling: Mapping[str, Any] | None = None, **serving: Any
) -> "Iterator[ModelUnderTest]":
    """Open a model for evaluation as it is served; its engine is closed when the block ends.

    Args:
        model: as for `open_chat_service`.
        cache: the cache of earlier responses.
        sampling: generation parameters that replace the model's defaults.
        serving: more arguments of `open_chat_service`.

    Raises:
        UserError: as `open_chat_service`.
    """
    from turnwise.app.evaluation_requests import RequestMaker
    from turnwise.evaluation.model_under_test import DecoderUnderTest, ModelUnderTest

    with open_chat_service(model, **serving) as service:
        model_class = ModelUnderTest if service.engine.is_encoder_decoder else DecoderUnderTest
        yield model_class(
            service.name,
            service.engine,
            service.renderer,
            RequestMaker(service),
            dict(sampling or {}),
            service.fingerprint,
            cache,
            service.engine.fingerprint_of if isinstance(service.engine, ScopedEngine) else None,
        )
