"""Distillation of replay: the model before training is the optimum of the loss."""

import numpy as np
import pytest
import torch
from hooks import KillingHook
from method_runs import CPU, parameters
from training_dialogues import small_talk, write_chats

from turnwise.core.errors import InvalidData
from turnwise.training import chunked_cross_entropy as chunked
from turnwise.training.examples.batches import collate
from turnwise.training.examples.example import Example
from turnwise.training.examples.load_datasets import load_datasets
from turnwise.training.examples.teacher_labels import add_teacher_labels
from turnwise.training.launch.base_model_loader import load_base_model
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.launch.self_distill_replay import ReplayTeacher
from turnwise.training.log_probs import TEACHER_PROBS, cross_entropy_sum
from turnwise.training.recipe import parse_recipe

pytestmark = pytest.mark.usefixtures("no_loss_plot", "one_thread")
EXAMPLES = [
    Example.causal([5, 9, 3, 7, 2], [False, False, True, True, True]),
    Example.causal([4, 8, 6], [False, True, True]),
]


def loss_and_gradient(model, rows):
    model.module.zero_grad()
    loss = cross_entropy_sum(model, collate(rows, pad_id=0))
    loss.backward()
    return float(loss.detach()), {
        name: p.grad.clone() for name, p in model.module.named_parameters() if p.grad is not None
    }


class TestLabels:
    def test_every_target_has_the_teachers_most_likely_tokens(self, untrained):
        (example,) = add_teacher_labels(EXAMPLES[:1], untrained, 0)
        probs_TK = example.token_labels[TEACHER_PROBS]
        assert (probs_TK.sum(axis=1) > 0).tolist() == example.target_mask.tolist()
        assert (np.diff(probs_TK, axis=1) <= 0).all()
        assert (probs_TK.sum(axis=1) <= 1 + 1e-6).all()

    def test_the_gradient_of_the_teacher_itself_is_zero(self, untrained):
        rows = [list(add_teacher_labels(EXAMPLES, untrained, 0))]
        _, gradient = loss_and_gradient(untrained, rows)
        _, of_tokens = loss_and_gradient(untrained, [EXAMPLES])
        for name, tensor in gradient.items():
            assert tensor.norm() < 1e-4 * of_tokens[name].norm() + 1e-7, name

    def test_examples_with_and_without_a_teacher_share_a_row(self, untrained):
        labelled, plain = list(add_teacher_labels(EXAMPLES[:1], untrained, 0)), EXAMPLES[1:]
        together, _ = loss_and_gradient(untrained, [[*plain, *labelled]])
        alone = loss_and_gradient(untrained, [plain])[0] + loss_and_gradient(untrained, [labelled])[0]
        assert together == pytest.approx(alone, rel=1e-5)


def test_the_loss_is_the_cross_entropy_of_the_stored_tokens_and_the_rest():
    logits_NV = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    ids_NK, probs_NK = torch.tensor([[1, 0]]), torch.tensor([[0.5, 0.3]])
    loss_N = chunked.chunked_distillation_loss(lambda hidden: hidden, logits_NV, ids_NK, probs_NK, 4)
    model_V = logits_NV[0].softmax(0)
    expected = -(0.5 * model_V[1].log() + 0.3 * model_V[0].log() + 0.2 * (model_V[2] + model_V[3]).log())
    assert float(loss_N[0]) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("targets", ["distribution", "tokens"])
def test_stored_replies_are_trained_on_with_the_chosen_targets(targets, base_folder, tmp_path):
    chats = write_chats(tmp_path / "chats.jsonl", small_talk(6))
    replies = write_chats(tmp_path / "replies.jsonl", small_talk(9)[6:])
    data = {"train": str(chats), "valid_fraction": 0.0, "replay_ratio": 0.5, "replay_replies": str(replies)}
    recipe = parse_recipe(
        {
            "model": {"from": str(base_folder)},
            "data": {**data, "replay_targets": targets},
            "training": {"max_seq_len": 128},
            "out": "none",
        },
        origin="test",
    )
    base = load_base_model(recipe)
    splits = load_datasets(recipe, base.renderer, base.model, teacher=ReplayTeacher(recipe, base))
    assert splits.num_replayed == 3
    has_teacher = [TEACHER_PROBS in splits.train.example(index).token_labels for index in range(9)]
    assert has_teacher == [False] * 6 + [targets == "distribution"] * 3


def load_replay(base_folder, tmp_path, replies):
    chats = write_chats(tmp_path / "chats.jsonl", small_talk(6))
    data = {"train": str(chats), "valid_fraction": 0.0, "replay_ratio": 0.5, "replay_replies": replies}
    values = {"model": {"from": str(base_folder)}, "data": data, "training": {"max_seq_len": 128}, "out": "none"}
    recipe = parse_recipe(values, origin="test")
    base = load_base_model(recipe)
    return load_datasets(recipe, base.renderer, base.model, teacher=ReplayTeacher(recipe, base))


def test_only_so_many_stored_replies_are_used_as_the_recipe_says(base_folder, tmp_path):
    replies = write_chats(tmp_path / "replies.jsonl", small_talk(9)[6:])
    assert load_replay(base_folder, tmp_path, [{"path": str(replies), "max_items": 2}]).num_replayed == 2


def test_stored_replies_without_a_dialogue_are_an_error(base_folder, tmp_path):
    """Generating replies instead would train on others than the recipe names."""
    texts = tmp_path / "texts.txt"
    texts.write_text("Only a text.", encoding="utf-8")
    with pytest.raises(InvalidData, match="holds no dialogue"):
        load_replay(base_folder, tmp_path, str(texts))


@pytest.mark.costly
def test_a_run_with_replay_continues_bit_exactly(base_folder, chats, tmp_path):
    """Labels are stored with the examples, so that a resumed run has the same ones."""

    def run(out, hooks=()):
        recipe = parse_recipe(
            {
                "model": {"from": str(base_folder)},
                "data": {
                    "train": str(chats), "valid_fraction": 0.0, "replay_ratio": 0.5, "replay_replies": str(chats)
                },
                "training": {"max_steps": 6, "batch_size": 2, "max_seq_len": 128, "save_steps": 3},
                "out": str(out),
            },
            origin="test",
        )  # fmt: skip
        run_recipe(recipe, device=CPU, hooks=hooks)
        return parameters(out)

    whole = run(tmp_path / "whole")
    with pytest.raises(RuntimeError):
        run(tmp_path / "resumed", [KillingHook(4)])
    resumed = run(tmp_path / "resumed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
