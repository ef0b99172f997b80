"""Objectives, their examples and their losses, for the tests of objectives."""

from dataclasses import replace

import torch
from sample_items import ITEMS

from turnwise.training.examples.batches import collate
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.shards import in_memory_shard
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES

CPU = torch.device("cpu")
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 4, "context_length": 128}
FAMILY = {"encoder_decoder": "t5", "encoder": "bert", "decoder": "llama"}

clm, dpo, iqlearn, kto, mlm, seq2seq, sft, span = map(
    OBJECTIVES.parse_plugin, ("clm", "dpo", "iqlearn", "kto", "mlm", "seq2seq", "sft", "span")
)


def dataset(objective, items, renderer, model, length=128):
    context = ExampleContext(renderer, length, model.decoder_start_ids)
    shard = in_memory_shard(example for item in items for example in objective.examples(item, context))
    for name, labels in shard.segment_labels.items():
        shard.segment_labels[name] = objective.balance_labels(name, labels)
    data = Dataset([shard], objective, context, model.supports_packing)
    data.compute_ref_logprobs(model, CPU, torch.float32, 2)
    return data


def encoded(objective, items, renderer, length=128):
    return [example for item in items for example in objective.examples(item, ExampleContext(renderer, length))]


def batches(data, size):
    rows = (
        data.rows() if not data.supports_packing else [replace(data.rows()[0], examples=[i]) for i in range(len(data))]
    )
    return [data.batch(rows[start : start + size]) for start in range(0, len(rows), size)]


def objective_for(name):
    """The objective with the labels of its sample items, and without dropout."""
    objective = OBJECTIVES.parse_plugin(name)
    if not objective.READS_ANNOTATIONS:
        return objective
    return objective.fit_labels(ITEMS[name]).model_copy(update={"dropout": 0.0})


def step_loss(how, model, collated):
    """The loss of an optimizer step over these batches."""
    before = how.reduce_statistic(*how.batch_statistic(model, collated))
    share = sum(how.loss_denominator(batch) for batch in collated)
    return sum(how.loss(model, batch, before).loss_sum for batch in collated) / share


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.module.parameters() if p.grad is not None])


def single(objective, items, renderer, model):
    """All examples in one row, as one batch."""
    return collate([encoded(objective, items, renderer)], pad_id=0)
