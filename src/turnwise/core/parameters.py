"""Generation parameters, each declared once.

The HTTP schema, the command-line flags, the controls of the chat page and the docs are derived from `PARAMETER_SPECS`.
To add a parameter, declare it here and, if it changes logits, add a file of its name to `engine/sampling/warpers/` or
`engine/sampling/processors/`.
"""

import dataclasses
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from turnwise.core.errors import InvalidParameter, did_you_mean

MAX_LOGIT_BIAS_ENTRIES = 1024
MAX_STRING = 4096  # characters of a string; every token of an answer is compared with it
_TOKEN_ID = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """Declaration of a parameter.

    Attributes:
        name: its name in the API, on the command line and in `generation_config.json`.
        kind: type of the value; `dict` for a map from token ids to numbers.
        default: the default of the API.
        description: one sentence for people.
        minimum: smallest value; excluded if `exclusive_minimum` is true.
        maximum: largest value; for lists, the maximum number of entries.
        exclusive_minimum: True if `minimum` itself is not allowed.
        neutral: value without any effect.
        nullable: True if null is allowed.
        is_list: True if the value is one entry of type `kind` or a list of them.
        show_in_page: True if the chat page shows it among its sampling controls.
        has_cli_flag: True if it has a command-line flag.
        literals: strings that are allowed besides values of type `kind`.
        sampling_only: True if it only affects random sampling, so that searches ignore it.
    """

    name: str
    kind: type
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    neutral: Any = None
    nullable: bool = False
    is_list: bool = False
    show_in_page: bool = False
    has_cli_flag: bool = True
    literals: tuple[str, ...] = ()
    sampling_only: bool = False

    @property
    def bounds(self) -> str:
        """The bounds in words, such as "at least 0"."""
        limits = (self.minimum or 0, self.maximum or 0)
        minimum, maximum = (str(limit) if isinstance(limit, int) else f"{limit:g}" for limit in limits)
        if self.minimum is None:
            return "" if self.maximum is None else f"at most {maximum}"
        if self.maximum is None:
            return f"{'greater than' if self.exclusive_minimum else 'at least'} {minimum}"
        if self.exclusive_minimum:
            return f"greater than {minimum} and at most {maximum}"
        return f"between {minimum} and {maximum}"

    def check(self, value: Any) -> Any:
        """Convert `value` to the parameter's type. Raises `InvalidParameter` for another type or out of bounds."""
        if value is None:
            if self.nullable:
                return None
            raise InvalidParameter(self.name, f"'{self.name}' must not be null.")
        if isinstance(value, str) and value in self.literals:
            return value
        if self.is_list:
            return self._check_list(value)
        if self.kind is dict:
            return self._check_token_map(value)
        return self._check_value(value)

    def _check_list(self, value: Any) -> tuple[Any, ...]:
        values = (value,) if isinstance(value, self.kind) else value
        noun = {str: "string", int: "whole number"}.get(self.kind, self.kind.__name__)
        if not isinstance(values, list | tuple):
            raise InvalidParameter(self.name, f"'{self.name}' must be a {noun} or a list of them.")
        if self.maximum is not None and len(values) > self.maximum:
            requirement = f"takes at most {self.maximum:g} entries, got {len(values)}"
            raise InvalidParameter(self.name, f"'{self.name}' {requirement}.")
        for entry in values:
            if not isinstance(entry, self.kind) or isinstance(entry, bool) or entry == "":
                empty = " that are not empty" if self.kind is str else ""
                raise InvalidParameter(self.name, f"'{self.name}' must hold {noun}s{empty}.")
            if isinstance(entry, str) and len(entry) > MAX_STRING:
                raise InvalidParameter(self.name, f"'{self.name}' takes strings of up to {MAX_STRING:,} characters.")
            if isinstance(entry, int) and entry < 0:
                raise InvalidParameter(self.name, f"'{self.name}' must hold token ids, which are not negative.")
        return tuple(values)

    def _check_token_map(self, value: Any) -> tuple[tuple[int, float], ...]:
        """Token ids, which JSON writes as strings, mapped to numbers; returned as sorted pairs, which are hashable."""
        if isinstance(value, tuple):  # already converted
            value = dict(value)
        if not isinstance(value, Mapping):
            raise InvalidParameter(self.name, f"'{self.name}' must be an object of token ids and numbers.")
        if len(value) > MAX_LOGIT_BIAS_ENTRIES:
            raise InvalidParameter(
                self.name, f"'{self.name}' takes at most {MAX_LOGIT_BIAS_ENTRIES} tokens, got {len(value)}."
            )
        pairs = {}
        for token, number in value.items():
            id = int(token) if _TOKEN_ID.fullmatch(str(token)) else -1
            if id < 0:
                got = reprlib.repr(token)
                raise InvalidParameter(self.name, f"'{self.name}' must name tokens by their ids, got {got}.")
            pairs[id] = float(self._check_value(number))
        return tuple(sorted(pairs.items()))

    def _check_value(self, value: Any) -> Any:
        got = reprlib.repr(value)
        if self.kind is bool:
            if not isinstance(value, bool):
                choices = " or ".join(["true, false" if self.literals else "true or false", *map(repr, self.literals)])
                raise InvalidParameter(self.name, f"'{self.name}' must be {choices}, got {got}.")
            return value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind is int and not (number and (isinstance(value, int) or value.is_integer())):
            raise InvalidParameter(self.name, f"'{self.name}' must be a whole number, got {got}.")
        if self.kind in (float, dict) and not number:
            raise InvalidParameter(self.name, f"'{self.name}' must be a number, got {got}.")
        below = self.minimum is not None and (value <= self.minimum if self.exclusive_minimum else value < self.minimum)
        above = self.maximum is not None and value > self.maximum
        if below or above or value != value:
            raise InvalidParameter(self.name, f"'{self.name}' must be {self.bounds}, got {got}.")
        return value if self.kind is dict else self.kind(value)


def _parameter(kind: type, default: Any, description: str, **options: Any) -> Any:
    return field(default=default, metadata={"kind": kind, "description": description, **options})


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """Parameters of one generation, checked on construction; `PARAMETER_SPECS` has their bounds and descriptions."""

    max_tokens: int | None = _parameter(
        int, None, "Maximum number of tokens to generate. Default: up to the end of the context.",
        minimum=1, nullable=True, show_in_page=True,
    )  # fmt: skip
    temperature: float = _parameter(
        float, 1.0, "Sampling temperature; the logits are divided by it. 0 is greedy decoding.",
        minimum=0, maximum=2, neutral=1.0, show_in_page=True, sampling_only=True,
    )  # fmt: skip
    top_k: int = _parameter(
        int, 0, "Sample only from the k most likely tokens; 0 switches it off.",
        minimum=0, maximum=1_000_000, neutral=0, show_in_page=True, sampling_only=True,
    )  # fmt: skip
    top_p: float = _parameter(
        float, 1.0,
        "Sample from the smallest set of tokens whose probabilities sum to p (nucleus); 0 keeps the most likely one.",
        minimum=0, maximum=1, neutral=1.0, show_in_page=True, sampling_only=True,
    )  # fmt: skip
    min_p: float = _parameter(
        float, 0.0, "Drop tokens less likely than this fraction of the most likely token; 0 switches it off.",
        minimum=0, maximum=1, neutral=0.0, show_in_page=True, sampling_only=True,
    )  # fmt: skip
    typical_p: float = _parameter(
        float, 1.0, "Sample from the tokens closest to the expected surprise, up to this total probability.",
        minimum=0, maximum=1, exclusive_minimum=True, neutral=1.0, sampling_only=True,
    )  # fmt: skip
    epsilon_cutoff: float = _parameter(
        float, 0.0, "Drop tokens less likely than this probability; 0 switches it off.",
        minimum=0, maximum=1, neutral=0.0, sampling_only=True,
    )  # fmt: skip
    eta_cutoff: float = _parameter(
        float, 0.0, "Like 'epsilon_cutoff', with a lower threshold where the model is uncertain; 0 switches it off.",
        minimum=0, maximum=1, neutral=0.0, sampling_only=True,
    )  # fmt: skip
    top_n_sigma: float = _parameter(
        float, 0.0, "Drop tokens more than this many standard deviations below the largest logit; 0 switches it off.",
        minimum=0, maximum=100, neutral=0.0, sampling_only=True,
    )  # fmt: skip
    presence_penalty: float = _parameter(
        float, 0.0, "Subtracted from the logit of every token that is already in the answer.",
        minimum=-2, maximum=2, neutral=0.0,
    )  # fmt: skip
    frequency_penalty: float = _parameter(
        float, 0.0, "Subtracted from a token's logit once for each time it occurs in the answer.",
        minimum=-2, maximum=2, neutral=0.0,
    )  # fmt: skip
    repetition_penalty: float = _parameter(
        float, 1.0, "Divides positive and multiplies negative logits of tokens that occur in prompt or answer.",
        minimum=0, maximum=10, exclusive_minimum=True, neutral=1.0,
    )  # fmt: skip
    no_repeat_ngram_size: int = _parameter(
        int, 0, "No n-gram of this size occurs twice in prompt and answer; 0 switches it off.",
        minimum=0, maximum=1024, neutral=0,
    )  # fmt: skip
    logit_bias: tuple[tuple[int, float], ...] = _parameter(
        dict, (), "Added to the logits of single tokens, by id; -100 bans a token, 100 almost forces it.",
        minimum=-100, maximum=100, neutral=(), has_cli_flag=False,
    )  # fmt: skip
    bad_words: tuple[str, ...] = _parameter(
        str, (), "Up to sixteen strings, at most 4,096 characters each, that the answer must not contain.",
        maximum=16, is_list=True, neutral=(),
    )  # fmt: skip
    min_tokens: int = _parameter(
        int, 0, "Minimum number of tokens before the answer may end.", minimum=0, maximum=1_000_000, neutral=0
    )
    stop_token_ids: tuple[int, ...] = _parameter(
        int, (), "Token ids at which the answer ends, beside the model's own.",
        maximum=64, is_list=True, neutral=(), has_cli_flag=False,
    )  # fmt: skip
    ignore_eos: bool = _parameter(
        bool, False, "Continue past the model's end-of-turn token, up to the token limit.",
        neutral=False, has_cli_flag=False,
    )  # fmt: skip
    penalty_alpha: float = _parameter(
        float, 0.0, "Contrastive search over the 'top_k' most likely tokens: weight of the penalty for similarity to "
        "earlier tokens; 0 switches it off.", minimum=0, maximum=1, neutral=0.0,
    )  # fmt: skip
    num_beams: int = _parameter(
        int, 1, "Number of beams for beam search; 1 switches beam search off.",
        minimum=1, maximum=64, neutral=1,
    )  # fmt: skip
    num_beam_groups: int = _parameter(
        int, 1, "Number of groups of beams that 'diversity_penalty' keeps different.", minimum=1, maximum=64, neutral=1,
        has_cli_flag=False,
    )  # fmt: skip
    diversity_penalty: float = _parameter(
        float, 0.0, "Subtracted from a token's score for every beam of an earlier group that has just chosen it.",
        minimum=0, maximum=100, neutral=0.0, has_cli_flag=False,
    )  # fmt: skip
    length_penalty: float = _parameter(
        float, 1.0, "A beam's score is divided by its length to this power; above 1 favours long answers.",
        minimum=-10, maximum=10, neutral=1.0, has_cli_flag=False,
    )  # fmt: skip
    early_stopping: bool | str = _parameter(
        bool, False,
        "True: end the search when 'num_beams' answers are complete; false: when a better one is unlikely; "
        "'never': when a better one is impossible.", neutral=False, has_cli_flag=False, literals=("never",),
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
        minimum=-(2**63), maximum=2**63 - 1, nullable=True, show_in_page=True,
    )  # fmt: skip
    stop: tuple[str, ...] = _parameter(
        str, (), "Up to four strings, at most 4,096 characters each, that end the answer; they are not part of it.",
        maximum=4, is_list=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        for spec in PARAMETER_SPECS.values():
            object.__setattr__(self, spec.name, spec.check(getattr(self, spec.name)))

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
        return cls(**values)


def _specs() -> dict[str, ParameterSpec]:
    return {
        f.name: ParameterSpec(name=f.name, default=f.default, **f.metadata)
        for f in dataclasses.fields(GenerationParams)
    }


PARAMETER_SPECS: dict[str, ParameterSpec] = _specs()
