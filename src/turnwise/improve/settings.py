"""Settings of `turnwise improve`: a YAML file, whose defaults suit one person's machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from turnwise.core.errors import InvalidParameter
from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import read_yaml


class TuningSettings(StrictModel):
    """How a version is trained.

    Attributes:
        method: "lora" trains an adapter, "full" all weights.
        rank: rank of a new adapter; an adapter whose training continues keeps at least its own.
        learning_rate: peak learning rate of the stage on corrections.
        preference_learning_rate: peak learning rate of the stage on preferences or ratings.
        batch_size: sequences per step; a sequence holds several short dialogues.
        passes: passes over the corrections.
        preference_passes: passes over the preferences or ratings.
        replay_ratio: share of tokens of the stage on corrections that are replies of the first version.
        num_replay_replies: replies of the first version that are generated, once per version. With `replay_ratio`, a
            fifth of them measures forgetting, else all do.
        min_corrections: fewest corrections for the stage on corrections.
        min_preferences: fewest preference pairs for DPO, or ratings of each kind for KTO.
        seed: seed of the training.
    """

    method: Literal["lora", "full"] = "lora"
    rank: int = Field(16, ge=1)
    learning_rate: float = Field(3e-4, gt=0, lt=1)
    preference_learning_rate: float = Field(5e-5, gt=0, lt=1)
    batch_size: int = Field(1, ge=1)
    passes: float = Field(30.0, gt=0)
    preference_passes: float = Field(2.0, gt=0)
    replay_ratio: float = Field(0.0, ge=0, le=0.9)
    num_replay_replies: int = Field(100, ge=20)
    min_corrections: int = Field(5, ge=1)
    min_preferences: int = Field(20, ge=1)
    seed: int = Field(0, ge=0)


class ProofSettings(StrictModel):
    """How a version is compared with the one that serves.

    Attributes:
        max_cross_fitted: up to so many answers with feedback, the proof is by two-fold cross-fitting: two models, each
            trained on one half, answer for the other half, and the version is trained on all. With more answers, a
            share is held out for good.
        held_out_share: this share.
        max_dialogues: largest number of held-out answers that are evaluated; the newest ones are.
        alphas: shares of the way from the first version's weights to the trained ones that are tried, the first one
            that keeps the rules on forgetting is compared (WiSE-FT, Wortsman et al. 2022).
        retention: files of dialogues whose likelihood must not fall; default: replies of the first version.
        scope: let a version answer only questions near those that it was trained on, and the first version all others.
        questions: "held_out" compares answers to questions that the models were not trained on. "training" compares
            answers to the version's own training questions, typed differently; this needs a scope, because it does not
            show what happens to other questions. "auto" is "training" with a scope and up to `max_cross_fitted`
            answers.
    """

    max_cross_fitted: int = Field(200, ge=0)
    held_out_share: float = Field(0.2, gt=0, lt=1)
    max_dialogues: int = Field(500, ge=5)
    alphas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field((1.0, 0.6, 0.3, 0.15), min_length=1)
    retention: tuple[str, ...] = ()
    scope: bool = True
    questions: Literal["auto", "held_out", "training"] = "auto"

    @model_validator(mode="after")
    def _check_questions(self) -> "ProofSettings":
        if self.questions == "training" and not self.scope:
            raise InvalidParameter("proof.questions", "'proof.questions' can be 'training' only with 'proof.scope'.")
        return self

    def uses_training_questions(self, num_answers: int) -> bool:
        """True if the version is compared on its own training questions, given the number of all examples."""
        if self.questions == "auto":
            return self.scope and num_answers <= self.max_cross_fitted
        return self.questions == "training"


class LimitSettings(StrictModel):
    """What a cycle may use.

    Attributes:
        minutes: time of a cycle after which its training stops at a checkpoint; the next cycle continues it.
        threads: processor threads; None: half of the processors, at least one.
        niceness: priority of the process, from 0 (that of a server) to 19 (only idle time).
    """

    minutes: float | None = Field(None, gt=0)
    threads: int | None = Field(None, ge=1)
    niceness: int = Field(10, ge=0, le=19)


# Defaults of `TuningSettings` for versions that answer all questions: what they forget matters, so they learn less.
WITHOUT_SCOPE: Mapping[str, Any] = {"passes": 10.0, "replay_ratio": 0.75, "num_replay_replies": 400}


class ImproveSettings(StrictModel):
    """All settings.

    Attributes:
        min_answers: fewest new answers with feedback that start a cycle.
        canary_share: a version that passes the gate first answers this share of conversations; 0: all of them at once.
        masks_personal_data: replace personal data before anything is written.
        public_texts: texts that are not replaced, although they look like personal data: your own name and address.
        tuning, proof, limits: see there.
    """

    min_answers: int = Field(8, ge=1)
    canary_share: float = Field(0.0, ge=0, lt=1)
    masks_personal_data: bool = True
    public_texts: tuple[str, ...] = ()
    tuning: TuningSettings = TuningSettings()
    proof: ProofSettings = ProofSettings()
    limits: LimitSettings = LimitSettings()

    @model_validator(mode="before")
    @classmethod
    def _use_defaults_without_scope(cls, values: Any) -> Any:
        proof, tuning = (values.get(key) or {} for key in ("proof", "tuning")) if isinstance(values, dict) else (0, 0)
        if isinstance(proof, dict) and isinstance(tuning, dict) and proof.get("scope") is False:
            return {**values, "tuning": {**WITHOUT_SCOPE, **tuning}}
        return values


def load_settings(path: Path | None) -> ImproveSettings:
    """Read a file of settings; the defaults without one.

    Raises:
        InvalidParameter: the file or one of `proof.retention` is missing, or a key or value is invalid.
    """
    if path is None:
        return ImproveSettings()
    if not path.is_file():
        raise InvalidParameter("settings", f"There is no file {path}.")
    settings = parse_strict_model(ImproveSettings, read_yaml(path, "settings"), origin=str(path))
    for retention in settings.proof.retention:  # it is read after the training, which may take hours
        if not Path(retention).exists():
            raise InvalidParameter("proof.retention", f"{path}: there is no file {retention}.")
    return settings
