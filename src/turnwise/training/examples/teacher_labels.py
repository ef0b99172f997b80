"""Next-token distributions of a teacher as labels of tokens (knowledge distillation, Hinton et al. 2015).

A sampled token says little about the distribution that it came from: training on it moves even the teacher itself. With
the distribution as target, the gradient of a model that equals the teacher is zero. The most likely tokens are stored;
all others count as one outcome.

Shapes: T tokens, N targets, K most likely tokens.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from turnwise.models.language_model import LanguageModel
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.log_probs import TEACHER_IDS, TEACHER_PROBS, hidden_at_targets

NUM_TOKENS = 32  # K


@torch.no_grad()
def add_teacher_labels(examples: Iterable[Example], teacher: LanguageModel, pad_id: int) -> Iterator[Example]:
    """Yield examples with the teacher's distribution at every target.

    Args:
        examples: examples of a language-modelling objective.
        teacher: the model whose distribution is the target.
        pad_id: id of the padding token.
    """
    device = next(teacher.module.parameters()).device
    for example in examples:
        teacher.module.eval()
        hidden_NC, _ = hidden_at_targets(teacher, collate([[example]], pad_id=pad_id).to(device))
        probs_NK, ids_NK = teacher.logits(hidden_NC).float().softmax(dim=-1).topk(min(NUM_TOKENS, teacher.vocab_size))
        is_target_T = example.targets != IGNORED
        ids_TK = np.zeros((example.size, ids_NK.shape[1]), np.int32)
        probs_TK = np.zeros(ids_TK.shape, np.float32)
        ids_TK[is_target_T], probs_TK[is_target_T] = ids_NK.cpu().numpy(), probs_NK.cpu().numpy()
        labels = {**example.token_labels, TEACHER_IDS: ids_TK, TEACHER_PROBS: probs_TK}
        yield replace(example, token_labels=labels)
