"""What may be asked of a search, with beams or a contrastive one: it finds its answers, and draws nothing."""

from collections.abc import Mapping
from typing import Any

from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import InvalidParameter
from turnwise.core.parameters import PARAMETER_SPECS, GenerationParams

ONLY_WITH_BEAMS = ("num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping")

MOST_CANDIDATES = 64  # each is a line of its own


def applicable_defaults(defaults: Mapping[str, Any], turn: ChatRequest) -> Mapping[str, Any]:
    """A model's own preferences, as far as they hold for a turn.

    A search that only the model prefers gives way to whatever does not go with one.
    """
    asked, kept = turn.sampling, dict(defaults)
    draws = any(spec.draw and asked.get(name) not in (None, spec.off) for name, spec in PARAMETER_SPECS.items())
    others = "num_beams" in asked or "penalty_alpha" in asked or turn.prediction is not None
    several = turn.best_of > 1 or (turn.n > 1 and turn.n > kept.get("num_beams", 1))
    if draws or others or several or turn.prompt_output != "nothing" or (turn.tools and asked.get("stop")):
        kept.pop("num_beams", None)
        kept.pop("penalty_alpha", None)
    if (asked.get("num_beams") or kept.get("num_beams", 1)) == 1:
        kept = {name: value for name, value in kept.items() if name not in ONLY_WITH_BEAMS}
    return kept


def check_search_parameters(params: GenerationParams, turn: ChatRequest) -> None:
    """Raises `InvalidParameter` for what contradicts a search, and for what means nothing without one.

    Args:
        params: as resolved, with the model's own preferences, which are about drawing and do not hold in a search.
        turn: what was asked for.
    """
    if params.penalty_alpha:
        _check_contrastive(params, turn)
    if params.num_beams == 1:
        for name in ONLY_WITH_BEAMS:
            if getattr(params, name) != PARAMETER_SPECS[name].off:
                raise InvalidParameter(name, f"'{name}' needs a search: 'num_beams' of 2 or more.")
        return
    _refuse_draws(turn, "num_beams")
    if params.num_beams % params.num_beam_groups:
        raise InvalidParameter(
            "num_beam_groups", f"'num_beam_groups' ({params.num_beam_groups}) must divide the {params.num_beams} beams."
        )
    if (params.num_beam_groups > 1) != (params.diversity_penalty > 0):
        raise InvalidParameter(
            "diversity_penalty", "'num_beam_groups' and 'diversity_penalty' only mean something together."
        )
    if turn.best_of > 1:
        raise InvalidParameter("best_of", "'num_beams' gives the likeliest answers already: leave 'best_of' out.")
    if turn.n > params.num_beams:
        beams = params.num_beams
        raise InvalidParameter("n", f"A search with {beams} beams gives that many answers, not {turn.n}.")


def _check_contrastive(params: GenerationParams, turn: ChatRequest) -> None:
    if params.num_beams > 1:
        raise InvalidParameter("penalty_alpha", "'penalty_alpha' and 'num_beams' are two ways to search: take one.")
    if not 2 <= params.top_k <= MOST_CANDIDATES:
        raise InvalidParameter(
            "top_k", f"'penalty_alpha' chooses among the 'top_k' likeliest tokens: 2 or more, up to {MOST_CANDIDATES}."
        )
    if turn.prediction is not None:
        raise InvalidParameter("prediction", "'prediction' is of no use to 'penalty_alpha': leave one of them out.")
    if turn.prompt_output != "nothing":
        raise InvalidParameter("penalty_alpha", "'penalty_alpha' does not go with reports on the prompt: leave it out.")
    for name, answers in (("best_of", turn.best_of), ("n", turn.n)):
        if answers > 1:
            raise InvalidParameter(name, f"'penalty_alpha' finds one answer; leave it or '{name}' out.")
    _refuse_draws(turn, "penalty_alpha", "top_k")


def _refuse_draws(turn: ChatRequest, search: str, *but: str) -> None:
    for name, spec in PARAMETER_SPECS.items():
        if spec.draw and name not in but and turn.sampling.get(name) not in (None, spec.off, 0):
            raise InvalidParameter(name, f"'{name}' is about drawing tokens, and '{search}' searches: leave one out.")
