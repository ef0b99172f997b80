"""Checks of requests with a deterministic search (beam search, contrastive search), which does not sample."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams

BEAM_PARAMETERS = ("num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping")
MAX_CANDIDATES = 64  # of contrastive search; each is a sequence of its own
MAX_TREE_NODES = 20_000  # beams times tokens of a tree that is returned; its JSON has about 2.5 MB


def applicable_defaults(defaults: Mapping[str, Any], request: ChatRequest) -> Mapping[str, Any]:
    """The model's default parameters that apply to a request.

    A search that is only a default of the model is dropped if the request sets anything that excludes a search.
    """
    sampling, applicable = request.sampling, dict(defaults)
    samples = any(
        spec.sampling_only and sampling.get(name) not in (None, spec.neutral) for name, spec in PARAMETER_SPECS.items()
    )
    sets_search = "num_beams" in sampling or "penalty_alpha" in sampling or request.output.prediction is not None
    too_many_choices = request.output.best_of > 1 or (
        request.output.n > 1 and request.output.n > applicable.get("num_beams", 1)
    )
    stops_with_tools = bool(request.tools.definitions and sampling.get("stop"))
    if samples or sets_search or too_many_choices or stops_with_tools or request.output.prompt_output != "nothing":
        applicable.pop("num_beams", None)
        applicable.pop("penalty_alpha", None)
    if (sampling.get("num_beams") or applicable.get("num_beams", 1)) == 1:
        applicable = {name: value for name, value in applicable.items() if name not in BEAM_PARAMETERS}
    return applicable


def check_search_parameters(params: GenerationParams, request: ChatRequest) -> None:
    """Check that the request is compatible with its search.

    Args:
        params: resolved parameters. They include the model's sampling defaults, which a search ignores.
        request: chat request.

    Raises:
        InvalidParameter: a parameter contradicts the search, or needs a search that is not enabled.
    """
    if params.penalty_alpha:
        _check_contrastive_search(params, request)
    if request.output.prompt_output == "distribution" and (params.num_beams > 1 or params.penalty_alpha):
        name = "num_beams" if params.num_beams > 1 else "penalty_alpha"
        raise InvalidParameter(name, f"'{name}' does not draw tokens from a distribution. Leave it out.")
    if request.output.trace_search and params.num_beams == 1:
        raise InvalidParameter("beam_tree", "'beam_tree' needs beam search: set 'num_beams' to 2 or more.")
    if params.num_beams == 1:
        for name in BEAM_PARAMETERS:
            if params.value(name) != PARAMETER_SPECS[name].neutral:
                raise InvalidParameter(name, f"'{name}' needs beam search: set 'num_beams' to 2 or more.")
        return
    _reject_sampling(request, "num_beams")
    if params.num_beams % params.num_beam_groups:
        raise InvalidParameter(
            "num_beam_groups", f"'num_beam_groups' ({params.num_beam_groups}) must divide the {params.num_beams} beams."
        )
    if (params.num_beam_groups > 1) != (params.diversity_penalty > 0):
        raise InvalidParameter("diversity_penalty", "'num_beam_groups' and 'diversity_penalty' must be set together.")
    if request.output.best_of > 1:
        raise InvalidParameter("best_of", "'num_beams' returns the most likely choices already. Leave 'best_of' out.")
    if request.output.n > params.num_beams:
        beams = params.num_beams
        raise InvalidParameter(
            "n", f"A search with {beams} beams returns at most {beams} choices, not {request.output.n}."
        )


def check_tree_size(request: ChatRequest, num_beams: int, max_tokens: int) -> None:
    """Check that the tree of a beam search is small enough to be returned, if the request asks for it.

    Args:
        request: chat request.
        num_beams: beams of the search.
        max_tokens: maximum tokens of the response: of the request, the model or the context.

    Raises:
        InvalidParameter: it may have more than `MAX_TREE_NODES` hypotheses.
    """
    if request.output.trace_search and num_beams * max_tokens > MAX_TREE_NODES:
        raise InvalidParameter(
            "beam_tree",
            f"'beam_tree' is limited to {MAX_TREE_NODES:,} hypotheses, and {num_beams} beams of up to {max_tokens:,} "
            f"tokens may have {num_beams * max_tokens:,}. Set 'max_tokens' to {MAX_TREE_NODES // num_beams:,} or less.",
        )


def _check_contrastive_search(params: GenerationParams, request: ChatRequest) -> None:
    if params.num_beams > 1:
        raise InvalidParameter(
            "penalty_alpha", "'penalty_alpha' and 'num_beams' are different searches. Leave one of them out."
        )
    if not 2 <= params.top_k <= MAX_CANDIDATES:
        raise InvalidParameter(
            "top_k",
            f"'penalty_alpha' selects from the 'top_k' most likely tokens: set 'top_k' to a value from 2 to "
            f"{MAX_CANDIDATES:,}.",
        )
    if request.output.prediction is not None:
        raise InvalidParameter(
            "prediction", "'prediction' cannot be combined with 'penalty_alpha'. Leave one of them out."
        )
    if request.output.prompt_output != "nothing":
        raise InvalidParameter(
            "penalty_alpha", "'penalty_alpha' cannot be combined with outputs for the prompt. Leave it out."
        )
    for name, value in (("best_of", request.output.best_of), ("n", request.output.n)):
        if value > 1:
            raise InvalidParameter(name, f"'penalty_alpha' returns one choice. Leave it or '{name}' out.")
    _reject_sampling(request, "penalty_alpha", "top_k")


def _reject_sampling(request: ChatRequest, search: str, *exceptions: str) -> None:
    for name, spec in PARAMETER_SPECS.items():
        if spec.sampling_only and name not in exceptions and request.sampling.get(name) not in (None, spec.neutral, 0):
            raise InvalidParameter(
                name, f"'{name}' affects sampling, and '{search}' does not sample. Leave one of them out."
            )
