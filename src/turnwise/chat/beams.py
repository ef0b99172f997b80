"""What may be asked of a search with beams: it gives the likeliest answers, and draws nothing."""

from collections.abc import Mapping
from typing import Any

from turnwise.chat.turn import Turn
from turnwise.core.errors import InvalidParameter
from turnwise.core.parameters import SPECS, GenerationParams

ONLY_WITH_BEAMS = ("num_beam_groups", "diversity_penalty", "length_penalty", "early_stopping")


def preferred(defaults: Mapping[str, Any], turn: Turn) -> Mapping[str, Any]:
    """A model's own preferences, as far as they hold for a turn: one that asks for draws wants no search."""
    asked = turn.asked
    wants_draws = any(spec.draw and asked.get(name) not in (None, spec.off) for name, spec in SPECS.items())
    wants_several = max(turn.answers, turn.best_of) > defaults.get("num_beams", 1) or turn.best_of > 1
    if "num_beams" in asked or not (wants_draws or wants_several or turn.prediction is not None):
        return defaults
    return {name: value for name, value in defaults.items() if name not in ("num_beams", *ONLY_WITH_BEAMS)}


def check_beams(params: GenerationParams, turn: Turn) -> None:
    """Raises `InvalidParameter` for what contradicts a search, and for what means nothing without one.

    Args:
        params: as resolved, with the model's own preferences, which are about drawing and do not hold in a search.
        turn: what was asked for.
    """
    if params.num_beams == 1:
        for name in ONLY_WITH_BEAMS:
            if getattr(params, name) != SPECS[name].off:
                raise InvalidParameter(name, f"'{name}' needs a search: 'num_beams' of 2 or more.")
        return
    for name, spec in SPECS.items():
        if spec.draw and turn.asked.get(name) not in (None, spec.off, 0):
            raise InvalidParameter(name, f"'{name}' is about drawing tokens, and 'num_beams' searches: leave one out.")
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
    if turn.answers > params.num_beams:
        beams = params.num_beams
        raise InvalidParameter("n", f"A search with {beams} beams gives that many answers, not {turn.answers}.")
