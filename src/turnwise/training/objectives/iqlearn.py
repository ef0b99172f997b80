"""Offline inverse soft Q-learning (IQLearn): cross-entropy on replies, with the logits as soft Q-values.

L = −1/Σᵢ wᵢ · Σᵢ wᵢ Σₜ [log π(aₜ|sₜ) − λ/4 · rₜ²] with rₜ = Q(sₜ, aₜ) − γ V(sₜ₊₁)

i runs over the replies of an optimizer step, wᵢ is the message's weight, and t runs over the reply's tokens including
its end-of-turn token. The state sₜ is the prompt and the reply before token t, the action aₜ is the token, Q(s, a) is
its logit, V(s) = log Σₐ exp Q(s, a), and log π(a|s) = Q(s, a) − V(s). V is 0 after the end-of-turn token. The last
token of a reply that is cut to the sequence length has no reward, because the next V is unknown.

IQ-Learn (Garg et al. 2021) maximizes E[φ(Q(s, a) − γ V(s'))] − E[V(s) − γ V(s')] over the states and actions of the
data, with φ(x) = x − λ/4 · x² for the χ² divergence. V(s') cancels except in the square: what remains is the
log-likelihood Q(s, a) − V(s) and the regularizer λ/4 · r² (Wulfmeier et al. 2024). Their reward
r = V(s) + λ log π(a|s) − γ V(s') has a temperature λ. Here Q and V are in units of λ, so that the softmax of the logits
is the policy, and the loss is divided by λ: their reward is λ rₜ. The gradient flows through both values; there is no
target network.

Cross-entropy alone does not change if a constant is added to all logits of a position. The regularizer sets this
constant, V, to the rewards to come: for γ = 1 the rewards of a reply sum to its log-probability plus V(s₁).

Shapes: N targets, T tokens.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from turnwise.core.messages import Conversation
from turnwise.data.rows import Document
from turnwise.models.language_model import LanguageModel
from turnwise.text.rendering.reply_spans import RenderedReplies
from turnwise.training import objective
from turnwise.training.examples.batches import Batch
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.log_probs import token_losses_and_logits
from turnwise.training.objective import ExampleContext, LossOutput
from turnwise.training.objectives.sft import Turns, reply_example, reply_windows

TRANSITION = "transition"  # name of the token label of a target: what follows it in its reply
NEXT_TOKEN, TURN_END, CUT = 0, 1, 2  # CUT: the next token is beyond the sequence length, so its V is unknown


class IqlearnObjective(objective.Objective):
    """Cross-entropy on replies plus the squared implied reward of every token.

    Attributes:
        regularization: strength λ of the temporal-difference term; 0 is `sft`.
        gamma: discount factor γ of the value of the next state.
        turns: train on "all" replies of a dialogue or only on the "last".
    """

    EMPTY_MESSAGE: ClassVar[str] = "no conversation with an assistant turn"
    UNIT: ClassVar[str] = "reply token"  # exp of the loss per "token" would be reported as a perplexity
    EXTRA_METRICS: ClassVar[tuple[str, ...]] = ("td", "reward")
    ADDS_PENALTY: ClassVar[bool] = True

    regularization: float = Field(0.1, ge=0)
    gamma: float = Field(1.0, ge=0, le=1)
    turns: Turns = "all"

    def examples(self, item: Conversation | Document, context: ExampleContext) -> Iterator[Example]:
        """Yield the examples of `sft` with the transition after every target."""
        for window, messages in reply_windows(item, self.turns, context, "iqlearn"):
            yield replace(reply_example(window, messages), token_labels={TRANSITION: _transitions(window)})

    def loss(self, model: LanguageModel, batch: Batch, statistic: float = 0.0) -> LossOutput:  # noqa: ARG002
        """Compute the weighted loss, summed over the targets.

        The extra metrics are the regularizer λ/4 · r² ("td") and the implied reward r ("reward").
        """
        is_target_BT = batch.targets_BT != IGNORED
        losses_N, logits_N = token_losses_and_logits(model, batch)
        transitions_N = batch.token_labels[TRANSITION][is_target_BT]
        rewards_N = implied_rewards(losses_N, logits_N, transitions_N, self.gamma)
        td_N = self.regularization / 4 * rewards_N.square()
        weights_N = torch.ones_like(losses_N) if batch.weights_BT is None else batch.weights_BT[is_target_BT]
        extra_metrics = {
            "td": float((td_N.detach() * weights_N).sum()),
            "reward": float((rewards_N.detach() * weights_N).sum()),
        }
        return LossOutput(((losses_N + td_N) * weights_N).sum(), extra_metrics)

    def loss_denominator(self, batch: Batch) -> float:
        """Sum of the replies' weights."""
        return batch.units


def implied_rewards(losses_N: Tensor, logits_N: Tensor, transitions_N: Tensor, gamma: float) -> Tensor:
    """Rewards r = Q(s, a) − γ V(s') that the logits imply, `(N,)`; 0 where the next state is unknown.

    Args:
        losses_N: cross-entropy of the targets, row by row.
        logits_N: logits of the targets.
        transitions_N: `NEXT_TOKEN` if the next target continues the reply, `TURN_END` or `CUT` if not.
        gamma: discount factor.
    """
    values_N = losses_N + logits_N  # V = Q − log π
    next_values_N = F.pad(values_N[1:], (0, 1))  # the last target of a batch ends its reply
    next_values_N = next_values_N.where(transitions_N == NEXT_TOKEN, 0.0)
    return (logits_N - gamma * next_values_N).where(transitions_N != CUT, 0.0)


def _transitions(window: RenderedReplies) -> NDArray[np.int8]:
    """Transition after the token that every position predicts, `(T,)` int8; meaningless where there is no target."""
    transitions_T = np.full(len(window.ids), NEXT_TOKEN, dtype=np.int8)
    # The target of a position is the next id, so the id `i` is predicted at `i - 1`.
    for reply in window.replies:
        if reply.start > 1:  # without a token between two replies, the span of the first one includes the second
            transitions_T[reply.start - 2] = TURN_END
    for reply in window.replies:
        transitions_T[reply.end - 2] = CUT if reply.is_cut else TURN_END
    return transitions_T
