"""Selection of few-shot demonstrations. One file per selection.

A module defines one of

* `select(pool, query, shots) -> list[int]`: demonstrations for one dialogue, by its first user message. The last one
  stands next to the dialogue, so it should be the best one.
* `fit(num_candidates, shots, loss, rng, trials) -> list[int]`: one set for all dialogues, chosen once by the loss on
  validation dialogues. `loss(indices)` measures a set; `trials` is the number of candidates to try per demonstration.

Both return indices of demonstrations, in their order in the prompt.
"""

from types import ModuleType

from turnwise.core.errors import InvalidParameter
from turnwise.core.plugins import PluginGroup

DEFAULT_SELECTION = "nearest"
PARAMETER = "selection"


def _build(name: str, module: ModuleType) -> ModuleType:
    if not (hasattr(module, "select") or hasattr(module, "fit")):
        raise InvalidParameter(PARAMETER, f"The demonstration selection '{name}' has neither 'select' nor 'fit'.")
    return module


SELECTIONS: PluginGroup[ModuleType] = PluginGroup(
    "demonstration selection", "demonstration_selections", (__name__, __path__), build=_build, parameter=PARAMETER
)
