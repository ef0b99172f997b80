"""Generation parameters, each declared once.

The HTTP schema, the command-line flags, the controls of the chat page and the docs are derived from `PARAMETER_SPECS`.
To add a parameter, declare it here and, if it changes logits, add a file of its name to `engine/sampling/warpers/` or
`engine/sampling/processors/`. Another package declares a parameter of its own in a module with
`PARAMETER = ParameterSpec(...)` and an entry point of its name in the group `turnwise.parameters`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.parameter_spec import ParameterSpec
from turnwise.core.plugins import InvalidPlugin, PluginGroup


def _parameter(kind: type, default: Any, description: str, **options: Any) -> Any:
    return field(default=default, metadata={"kind": kind, "description": description, **options})


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """Parameters of one generation, checked on construction; `PARAMETER_SPECS` has their bounds and descriptions."""

    max_tokens: int | None = _parameter(
        int, None, "Maximum number of tokens to generate. Default: up to the end of the context.",
        minimum=1, nullable=True,
        group="basic", label="Maximum length", help="The longest answer, in tokens. A token is about four letters.",
    )  # fmt: skip
    temperature: float = _parameter(
        float, 1.0, "Sampling temperature; the logits are divided by it. 0 is greedy decoding.",
        minimum=0, maximum=2, neutral=1.0, sampling_only=True,
        group="basic", help="Low: the same, safe words. High: more varied words, and more mistakes.",
    )  # fmt: skip
    top_k: int = _parameter(
        int, 0, "Sample only from the k most likely tokens; 0 switches it off.",
        minimum=0, maximum=1_000_000, neutral=0, sampling_only=True,
        group="sampling", help="Chooses among this many of the most likely words.",
    )  # fmt: skip
    top_p: float = _parameter(
        float, 1.0,
        "Sample from the smallest set of tokens whose probabilities sum to p (nucleus); 0 keeps the most likely one.",
        minimum=0, maximum=1, neutral=1.0, sampling_only=True,
        group="basic", help="Leaves out unlikely words. 1 leaves out none; lower values are safer.",
    )  # fmt: skip
    min_p: float = _parameter(
        float, 0.0, "Drop tokens less likely than this fraction of the most likely token; 0 switches it off.",
        minimum=0, maximum=1, neutral=0.0, sampling_only=True,
        group="sampling", help="Leaves out words that are much less likely than the most likely one.",
    )  # fmt: skip
    typical_p: float = _parameter(
        float, 1.0, "Sample from the tokens closest to the expected surprise, up to this total probability.",
        minimum=0, maximum=1, exclusive_minimum=True, neutral=1.0, sampling_only=True,
        group="sampling", help="Leaves out words that are unusually likely or unlikely at this position.",
    )  # fmt: skip
    epsilon_cutoff: float = _parameter(
        float, 0.0, "Drop tokens less likely than this probability; 0 switches it off.",
        minimum=0, maximum=1, neutral=0.0, sampling_only=True,
        group="sampling", help="Leaves out words below this probability.",
    )  # fmt: skip
    eta_cutoff: float = _parameter(
        float, 0.0, "Like 'epsilon_cutoff', with a lower threshold where the model is uncertain; 0 switches it off.",
        minimum=0, maximum=1, neutral=0.0, sampling_only=True,
        group="sampling", help="Leaves out words below a probability that adapts to how sure the model is.",
    )  # fmt: skip
    top_n_sigma: float = _parameter(
        float, 0.0, "Drop tokens more than this many standard deviations below the largest logit; 0 switches it off.",
        minimum=0, maximum=100, neutral=0.0, sampling_only=True,
        group="sampling", help="Leaves out words that are far below the best one; works at high temperatures.",
    )  # fmt: skip
    presence_penalty: float = _parameter(
        float, 0.0, "Subtracted from the logit of every token that is already in the answer.",
        minimum=-2, maximum=2, neutral=0.0,
        group="repetition", help="Above 0: new words rather than words that are already in the answer.",
    )  # fmt: skip
    frequency_penalty: float = _parameter(
        float, 0.0, "Subtracted from a token's logit once for each time it occurs in the answer.",
        minimum=-2, maximum=2, neutral=0.0,
        group="repetition", help="Above 0: a word becomes less likely each time it is used.",
    )  # fmt: skip
    repetition_penalty: float = _parameter(
        float, 1.0, "Divides positive and multiplies negative logits of tokens that occur in prompt or answer.",
        minimum=0, maximum=10, exclusive_minimum=True, neutral=1.0,
        group="repetition", help="Above 1: words of the chat and the answer become less likely.",
    )  # fmt: skip
    no_repeat_ngram_size: int = _parameter(
        int, 0, "No n-gram of this size occurs twice in prompt and answer; 0 switches it off.",
        minimum=0, maximum=1024, neutral=0,
        group="repetition", help="Never repeats a sequence of this many tokens.",
    )  # fmt: skip
    logit_bias: tuple[tuple[int, float], ...] = _parameter(
        dict, (), "Added to the logits of single tokens, by id; -100 bans a token, 100 almost forces it.",
        minimum=-100, maximum=100, neutral=(), has_cli_flag=False,
        group="words", label="Token bias",
        help="Makes single tokens more likely (up to 100) or less likely (down to -100), by their ids.",
    )  # fmt: skip
    bad_words: tuple[str, ...] = _parameter(
        str, (), "Up to sixteen strings, at most 4,096 characters each, that the answer must not contain.",
        maximum=16, is_list=True, neutral=(),
        group="words", label="Forbidden texts", help="Texts that the answer never contains, one per line.",
    )  # fmt: skip
    min_tokens: int = _parameter(
        int, 0, "Minimum number of tokens before the answer may end.", minimum=0, maximum=1_000_000, neutral=0,
        group="words", help="The shortest answer, in tokens.",
    )  # fmt: skip
    stop_token_ids: tuple[int, ...] = _parameter(
        int, (), "Token ids at which the answer ends, beside the model's own.",
        maximum=64, is_list=True, neutral=(), has_cli_flag=False,
        group="words", help="The answer ends at these tokens, one id per line.",
    )  # fmt: skip
    ignore_eos: bool = _parameter(
        bool, False, "Continue past the model's end-of-turn token, up to the token limit.",
        neutral=False, has_cli_flag=False,
        group="words", help="Writes on until the maximum length, even if the answer is complete.",
    )  # fmt: skip
    penalty_alpha: float = _parameter(
        float, 0.0, "Contrastive search over the 'top_k' most likely tokens: weight of the penalty for similarity to "
        "earlier tokens; 0 switches it off.", minimum=0, maximum=1, neutral=0.0,
        group="search", help="Contrastive search: avoids repeating itself; also set 'top_k'.",
    )  # fmt: skip
    num_beams: int = _parameter(
        int, 1, "Number of beams for beam search; 1 switches beam search off.",
        minimum=1, maximum=64, neutral=1,
        group="search", help="Writes this many drafts at the same time and keeps the most likely one.",
    )  # fmt: skip
    num_beam_groups: int = _parameter(
        int, 1, "Number of groups of beams that 'diversity_penalty' keeps different.", minimum=1, maximum=64, neutral=1,
        has_cli_flag=False,
        group="search", help="Divides the beams into groups that differ from each other.",
    )  # fmt: skip
    diversity_penalty: float = _parameter(
        float, 0.0, "Subtracted from a token's score for every beam of an earlier group that has just chosen it.",
        minimum=0, maximum=100, neutral=0.0, has_cli_flag=False,
        group="search", help="How much the groups of beams differ.",
    )  # fmt: skip
    length_penalty: float = _parameter(
        float, 1.0, "A beam's score is divided by its length to this power; above 1 favours long answers.",
        minimum=-10, maximum=10, neutral=1.0, has_cli_flag=False,
        group="search", help="Above 1: beam search prefers longer answers; below: shorter ones.",
    )  # fmt: skip
    early_stopping: bool | str = _parameter(
        bool, False,
        "True: end the search when 'num_beams' answers are complete; false: when a better one is unlikely; "
        "'never': when a better one is impossible.", neutral=False, has_cli_flag=False, literals=("never",),
        group="search", help="When beam search ends.",
    )  # fmt: skip
    logprobs: bool = _parameter(
        bool, False, "Return the log-probability of every token, before temperature and truncation.",
        neutral=False, has_cli_flag=False,
    )  # fmt: skip
    top_logprobs: int = _parameter(
        int, 0, "Number of most likely tokens to return at each position, with 'logprobs'.",
        minimum=0, maximum=20, neutral=0, has_cli_flag=False,
    )  # fmt: skip
    seed: int | None = _parameter(
        int, None, "Random seed that makes sampling repeatable. Default: a new seed for every request.",
        minimum=-(2**63), maximum=2**63 - 1, nullable=True,
        group="sampling", help="The same number gives the same answer again.",
    )  # fmt: skip
    stop: tuple[str, ...] = _parameter(
        str, (), "Up to four strings, at most 4,096 characters each, that end the answer; they are not part of it.",
        maximum=4, is_list=True,
        group="words", label="Stop texts", help="The answer ends before these texts, one per line.",
    )  # fmt: skip

    plugin_values: tuple[tuple[str, Any], ...] = ()  # of parameters that other packages declare, sorted by name

    def __post_init__(self) -> None:
        for name, spec in _BUILT_IN_SPECS.items():
            object.__setattr__(self, name, spec.check(getattr(self, name)))
        checked = ((name, PARAMETER_SPECS[name].check(value)) for name, value in sorted(self.plugin_values))
        object.__setattr__(self, "plugin_values", tuple(checked))

    def value(self, name: str) -> Any:
        """The value of a parameter by name, built-in or declared by another package."""
        if name in _BUILT_IN_SPECS:
            return getattr(self, name)
        return dict(self.plugin_values).get(name, PARAMETER_SPECS[name].default)

    @classmethod
    def resolve(cls, overrides: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> "GenerationParams":
        """Merge a request's parameters with the defaults of a model.

        Args:
            overrides: parameters of the request; null counts as absent.
            defaults: the model's defaults, for instance from `generation_config.json`. Unknown names are ignored.

        Raises:
            InvalidParameter: `overrides` has an unknown name, or a value is invalid.
        """
        for name in overrides:
            if name not in PARAMETER_SPECS:
                raise InvalidParameter(name, f"Unknown parameter '{name}': {did_you_mean(name, PARAMETER_SPECS)}")
        values = {
            name: value for name, value in (defaults or {}).items() if name in PARAMETER_SPECS and value is not None
        }
        values.update({name: value for name, value in overrides.items() if value is not None})
        plugin_values = tuple((name, values.pop(name)) for name in sorted(values.keys() - _BUILT_IN_SPECS.keys()))
        return cls(**values, plugin_values=plugin_values)


_BUILT_IN_SPECS = {
    f.name: ParameterSpec(name=f.name, default=f.default, **f.metadata)
    for f in dataclasses.fields(GenerationParams)
    if f.metadata
}
PLUGIN_PARAMETERS: PluginGroup[ParameterSpec] = PluginGroup(
    "parameter", "parameters", (__name__, ()), requires=("PARAMETER",), build=lambda _, module: module.PARAMETER
)


def _plugin_specs() -> dict[str, ParameterSpec]:
    specs = PLUGIN_PARAMETERS.all()
    for name, spec in specs.items():
        if spec.name != name:
            raise InvalidPlugin(
                f"The entry point '{name}' declares the parameter '{spec.name}': both must have the same name."
            )
        if name in _BUILT_IN_SPECS:
            raise InvalidPlugin(f"The entry point '{name}' has the name of a built-in parameter. Rename it.")
    return specs


PARAMETER_SPECS: dict[str, ParameterSpec] = {**_BUILT_IN_SPECS, **_plugin_specs()}
