"""Opens models for evaluation."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from turnwise.app.chat_services import open_chat_service
from turnwise.app.shared_base_engines import SharedBaseEngines

if TYPE_CHECKING:
    from turnwise.evaluation.response_cache import ResponseCache
    from turnwise.evaluation.system_under_test import ModelUnderTest


@contextmanager
def open_model_under_test(
    model: str | None, cache: "ResponseCache", *, sampling: Mapping[str, Any] | None = None, **serving: Any
) -> Iterator["ModelUnderTest"]:
    """Open a model for evaluation as it is served; its engine is closed when the block ends.

    Args:
        model: as for `open_chat_service`.
        cache: the cache of earlier responses.
        sampling: generation parameters that replace the model's defaults.
        serving: more arguments of `open_chat_service`.

    Raises:
        UserError: as `open_chat_service`.
    """
    from turnwise.core.chat_request import ChatRequest, ToolOptions
    from turnwise.evaluation.system_under_test import ModelUnderTest

    # With shared base engines, adapters are evaluated unmerged, which is how they are served.
    with open_chat_service(model, base_engines=SharedBaseEngines(), **serving) as service:
        yield ModelUnderTest(
            service.name,
            service.engine,
            service.renderer,
            lambda history, params, tools: service.build_request(
                ChatRequest(history, sampling=params, tools=ToolOptions(tools))
            ),
            dict(sampling or {}),
            service.fingerprint,
            cache,
        )
