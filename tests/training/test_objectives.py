"""Objectives: one suite over all of them, then the formula of each."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hooks import KillingHook
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sample_items import FOUR, ITEMS, PAIRS, RATED, TEXTS, dialogue, written
from torch.nn import functional as F

from turnwise.core.errors import InvalidData, InvalidParameter, UserError
from turnwise.core.messages import Conversation, Message
from turnwise.data.rows import Document
from turnwise.models import transformers_checkpoint
from turnwise.models.transformers_model import TransformersModel
from turnwise.text.rendering.renderer import Renderer
from turnwise.training.examples.batches import collate
from turnwise.training.examples.dataset import Dataset
from turnwise.training.examples.example import IGNORED, Example
from turnwise.training.examples.shards import in_memory_shard
from turnwise.training.launch.run_recipe import run_recipe
from turnwise.training.log_probs import cross_entropy_sum, segment_log_probs
from turnwise.training.model_bundle import ModelBundle
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES
from turnwise.training.objectives.span import sample_spans
from turnwise.training.recipe import parse_recipe

CPU = torch.device("cpu")
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 4, "context_length": 128}
FAMILY = {"encoder_decoder": "t5", "encoder": "bert", "decoder": "llama"}

clm, dpo, kto, mlm, seq2seq, sft, span = map(
    OBJECTIVES.parse_plugin, ("clm", "dpo", "kto", "mlm", "seq2seq", "sft", "span")
)


@pytest.fixture(scope="module")
def renderer(tokenizer):
    return Renderer.from_tokenizer(tokenizer.with_special_tokens([*mlm.special_tokens(), *span.special_tokens()[:8]]))


@pytest.fixture
def model_for(renderer, tiny_config, one_thread):
    """`model_for(objective)`: a new model of the kind that it trains, with the same weights every time."""
    from turnwise.models.checkpoint import create

    def make(objective):
        kind = min(objective.MODEL_KINDS)  # a decoder, if there is a choice
        tokenizer = renderer.tokenizer
        if kind == "decoder":
            model = create(replace(tiny_config, vocab_size=tokenizer.vocab_size), seed=0)
            return objective.add_head(ModelBundle(model, tokenizer, None), seed=0).model
        sizes = transformers_checkpoint.ModelSizes(tokenizer.vocab_size, *SIZES.values())
        return transformers_checkpoint.create(
            FAMILY[kind], sizes, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, seed=0
        )

    return make


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


@pytest.mark.parametrize("name", OBJECTIVES.names())
class TestEveryObjective:
    def test_the_loss_falls_on_four_samples(self, name, renderer, model_for):
        objective = objective_for(name)
        model = model_for(objective)
        collated = batches(dataset(objective, ITEMS.get(name, FOUR), renderer, model), 4)
        optimizer = torch.optim.AdamW(model.module.parameters(), lr=1e-2)
        losses = []
        for _ in range(16):
            losses.append(step_loss(objective, model, collated))
            losses[-1].backward()
            optimizer.step()
            optimizer.zero_grad()
        assert losses[-1] < 0.6 * losses[0]

    def test_micro_batches_have_the_gradient_of_the_full_batch(self, name, renderer, model_for):
        """Rows differ in their numbers of replies and tokens, so a mean of means would be wrong."""
        objective = objective_for(name)
        model = model_for(objective)
        data = dataset(objective, ITEMS.get(name, FOUR), renderer, model)
        with torch.no_grad():  # some terms vanish at the base weights
            for parameter in model.module.parameters():
                parameter.mul_(1.05)
        step_loss(objective, model, batches(data, len(data))).backward()
        at_once = gradient(model)
        model.module.zero_grad()
        step_loss(objective, model, batches(data, 1)).backward()
        assert at_once.norm() > 0
        assert (gradient(model) - at_once).abs().max() <= 1e-5 * max(1.0, at_once.abs().max())

    def test_an_interrupted_run_ends_with_the_same_bits(
        self, name, renderer, base_folder, tmp_path, no_loss_plot, one_thread
    ):
        kind = min(OBJECTIVES.plugin_class(name).MODEL_KINDS)
        data = written(ITEMS.get(name, FOUR) * 3, tmp_path / "data.jsonl")
        source = {"from": str(base_folder)}
        if kind != "decoder":
            source = {"new": {"family": FAMILY[kind], **SIZES}, "tokenizer": str(base_folder)}
        weights = []
        for stop in (None, 3):
            out = tmp_path / f"out-{stop}"
            recipe = parse_recipe(
                {
                    "objective": name, "model": source, "data": {"train": str(data), "valid": str(data)},
                    "training": {
                        "max_seq_len": 96, "batch_size": 3, "max_steps": 6, "save_steps": 2, "dtype": "float32"
                    },
                    "out": str(out),
                },
                origin="test",
            )  # fmt: skip
            if stop:
                with pytest.raises(RuntimeError, match="killed"):
                    run_recipe(recipe, hooks=[KillingHook(stop)], device=CPU)
            result = run_recipe(recipe, device=CPU)
            assert result.steps == 6
            weights.append(load_file(out / "model.safetensors"))
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    def test_a_dialogue_without_target_text_has_no_example(self, name, renderer):
        objective = OBJECTIVES.parse_plugin(name)
        if objective.READS_ANNOTATIONS:
            pytest.skip("trains on annotated texts")
        empty = Conversation((), rejected=(Message("user", "?"),), rating=True)
        assert encoded(objective, [empty], renderer) == []

    def test_the_error_names_the_data_that_is_missing(self, name):
        assert OBJECTIVES.plugin_class(name).EMPTY_MESSAGE


class TestNamesAndOptions:
    def test_an_unknown_objective_is_rejected_with_the_nearest_name(self):
        with pytest.raises(InvalidParameter, match=r"no objective 'stf'.*did you mean 'sft'"):
            OBJECTIVES.parse_plugin("stf")

    def test_an_unknown_option_is_rejected_with_the_nearest_name(self):
        with pytest.raises(InvalidParameter, match=r"unknown key 'objective.bta': did you mean 'beta'"):
            OBJECTIVES.parse_plugin({"name": "dpo", "bta": 0.3})

    def test_options_are_checked(self):
        with pytest.raises(InvalidParameter, match=r"'objective.beta' should be greater than 0"):
            OBJECTIVES.parse_plugin({"name": "dpo", "beta": 0})

    def test_a_model_of_another_kind_is_rejected_with_the_objectives_for_it(self, values):
        values["objective"] = "seq2seq"
        objectives = "clm, dpo, kto, sequence_classification, sft, token_classification"
        with pytest.raises(InvalidParameter, match=rf"is a decoder, which the objective 'seq2seq' .*{objectives}\.$"):
            run_recipe(parse_recipe(values, origin="test"))


def single(objective, items, renderer, model):
    """All examples in one row, as one batch."""
    return collate([encoded(objective, items, renderer)], pad_id=0)


class TestSft:
    @torch.no_grad()
    def test_the_loss_equals_the_formula(self, renderer, model_for):
        """L = −1/N Σᵢ Σₖ log P(yₖ | xᵢ, y₁ … yₖ₋₁), reply by reply and token by token from the plain model."""
        loaded = model_for(sft)
        model, summed, replies = loaded.decoder, 0.0, 0
        for talk in FOUR:
            for i, message in enumerate(talk.messages):
                if message.role != "assistant":
                    continue
                x = renderer.render(talk.messages[:i], add_generation_prompt=True).ids
                y = [*renderer.tokenizer.encode(message.content), renderer.tokenizer.eos_token_id]
                for k in range(len(y)):
                    logits_V = model.logits(model(torch.tensor([x + y[:k]])))[0, -1]
                    summed -= F.log_softmax(logits_V, dim=0)[y[k]].item()
                replies += 1
        batch = single(sft, FOUR, renderer, loaded)
        assert batch.units == replies == 5
        assert step_loss(sft, loaded, [batch]).item() == pytest.approx(summed / replies, rel=1e-5)

    @torch.no_grad()
    def test_an_optimizer_step_averages_over_all_its_replies(self, trainer, recipe):
        """The reported loss is per token, the gradient per reply."""
        run = trainer(recipe(micro_batch_size=1, max_grad_norm=1e9))
        rows = run.data.train.rows()[:4]
        batch = run.data.train.batch(rows)
        with torch.enable_grad():
            (cross_entropy_sum(run.model, batch) / batch.units).backward()
        expected = gradient(run.model)
        run.module.zero_grad()
        seen = []
        for optimizer in run.checkpoints.optimizers:
            optimizer.step = lambda: seen.append(gradient(run.model))
        with torch.enable_grad():
            report = run.optimizer_step(rows)
        assert (seen[0] - expected).abs().max() <= 1e-6
        assert report.loss == pytest.approx(cross_entropy_sum(run.model, batch).item() / batch.target_weight, rel=1e-5)
        assert report.grad_norm == pytest.approx(expected.norm().item() * batch.units / batch.target_weight, rel=1e-4)

    def learned(self, example, renderer):
        return renderer.tokenizer.decode(example.targets[example.target_mask].tolist(), skip_special_tokens=False)

    def test_only_assistant_messages_are_targets(self, renderer):
        (example,) = encoded(sft, FOUR[1:2], renderer)
        assert self.learned(example, renderer) == "I'd like to order a new one.<|end|>Sehr gern!<|end|>"
        assert example.units == 2

    def test_with_turns_last_only_the_last_reply_is_a_target(self, renderer):
        (example,) = encoded(OBJECTIVES.parse_plugin({"name": "sft", "turns": "last"}), FOUR[1:2], renderer)
        assert self.learned(example, renderer) == "Sehr gern!<|end|>"
        assert example.units == 1

    def test_a_message_of_weight_zero_is_context_and_no_target(self, renderer):
        first, *rest = FOUR[1].messages
        talk = Conversation((first, replace(rest[0], weight=0.0), *rest[1:]))
        (example,) = encoded(sft, [talk], renderer)
        assert self.learned(example, renderer) == "Sehr gern!<|end|>"
        assert example.ids.tolist() == encoded(sft, FOUR[1:2], renderer)[0].ids.tolist()

    def test_a_dialogue_of_weight_zero_has_no_example(self, renderer):
        talk = Conversation((FOUR[0].messages[0], replace(FOUR[0].messages[1], weight=0.0)))
        assert not encoded(sft, [talk], renderer)

    @torch.no_grad()
    def test_a_message_of_weight_three_counts_like_three_messages(self, renderer, model_for):
        model = model_for(sft)
        heavy = Conversation((FOUR[0].messages[0], replace(FOUR[0].messages[1], weight=3.0)))
        losses = [
            step_loss(sft, model, [single(sft, items, renderer, model)])
            for items in ([heavy, FOUR[3]], [FOUR[0], FOUR[0], FOUR[0], FOUR[3]])
        ]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)

    def test_weights_follow_a_truncated_dialogue(self, renderer):
        talk = [Message(("user", "assistant")[i % 2], "Thank you " * 6, weight=1 + i) for i in range(6)]
        untruncated = encoded(sft, [Conversation(tuple(talk))], renderer, length=500)
        pieces = encoded(sft, [Conversation(tuple(talk))], renderer, length=untruncated[0].size - 1)
        assert len(pieces) > 1
        assert sum(piece.weights[piece.target_mask].sum() for piece in pieces) == pytest.approx(
            sum(e.weights[e.target_mask].sum() for e in untruncated)
        )

    def test_user_messages_are_not_targets(self, renderer, model_for):
        """No reply follows the last user message, so its text changes nothing."""
        model = model_for(sft)
        talks = [dialogue("Hello", "How can I help you?", last) for last in ("Thank you", "Order the lamp")]
        losses = [step_loss(sft, model, [single(sft, [talk], renderer, model)]) for talk in talks]
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)

    def test_a_dialogue_without_an_assistant_message_has_no_example(self, renderer):
        assert not encoded(sft, [dialogue("Hello")], renderer)

    def test_a_reply_that_the_template_omits_is_no_target(self, tokenizer):
        template = "{% for m in messages[1:] %}<|assistant|>{{ m['content'] }}<|end|>{% endfor %}"
        talk = Conversation((Message("assistant", "Welcome"), Message("assistant", "How can I help?")))
        (example,) = encoded(sft, [talk], Renderer(tokenizer, template))
        assert example.units == 1


class TestClm:
    @torch.no_grad()
    def test_loss_is_the_mean_over_all_predicted_tokens(self, renderer, model_for):
        loaded = model_for(clm)
        model, summed, predicted = loaded.decoder, 0.0, 0
        for talk in FOUR:
            ids = renderer.render(talk.messages).ids
            for k in range(1, len(ids)):
                logits_V = model.logits(model(torch.tensor([ids[:k]])))[0, -1]
                summed -= F.log_softmax(logits_V, dim=0)[ids[k]].item()
                predicted += 1
        batch = single(clm, FOUR, renderer, loaded)
        assert step_loss(clm, loaded, [batch]).item() == pytest.approx(summed / predicted, rel=1e-5)

    def test_a_document_ends_with_the_end_token(self, renderer):
        (example,) = encoded(clm, [Document("Hello, how can I help?")], renderer)
        assert example.ids.tolist() == [
            *renderer.tokenizer.encode("Hello, how can I help?"),
            renderer.tokenizer.eos_token_id,
        ]
        assert example.target_mask[:-1].all()

    def test_a_long_text_loses_no_token_between_windows(self, renderer):
        text = Document("The lamp in the kitchen is broken again. " * 10)
        pieces = encoded(clm, [text], renderer, length=16)
        assert sum(piece.target_mask.sum() for piece in pieces) == sum(len(piece.ids) for piece in pieces) - 1

    def test_markup_in_a_document_stays_text(self, renderer):
        (example,) = encoded(clm, [Document("so <|end|> it is")], renderer)
        assert (example.ids == renderer.tokenizer.eos_token_id).sum() == 1

    def test_the_denominator_is_the_number_of_targets(self):
        batch = collate([[Example.causal(range(5), [True] * 5)]], pad_id=0)
        assert clm.loss_denominator(batch) == 4


class TestMlm:
    def varied(self, renderer, epoch=0, **options):
        objective = OBJECTIVES.parse_plugin({"name": "mlm", **options})
        frame = ExampleContext(renderer, 128)
        (example,) = objective.examples(Document("The lamp in the kitchen is broken again. " * 8), frame)
        return example, objective.augment(example, np.random.default_rng(epoch), frame)

    def test_targets_are_the_masked_tokens_at_their_positions(self, renderer):
        original, example = self.varied(renderer)
        assert (example.targets[example.target_mask] == original.ids[example.target_mask]).all()
        assert (example.ids[~example.target_mask] == original.ids[~example.target_mask]).all()

    def test_masked_tokens_are_replaced_randomized_or_kept_in_the_documented_ratios(self, renderer):
        fates = {"mask": 0, "same": 0, "other": 0}
        for epoch in range(300):
            original, example = self.varied(renderer, epoch)
            hidden = example.target_mask
            assert hidden.sum() == round(0.15 * (~np.isin(original.ids, list(renderer.tokenizer.special_ids))).sum())
            masked = example.ids[hidden] == renderer.tokenizer.mask_token_id
            same = example.ids[hidden] == original.ids[hidden]
            fates["mask"] += masked.sum()
            fates["same"] += same.sum()
            fates["other"] += (~masked & ~same).sum()
        total = sum(fates.values())
        assert fates["mask"] / total == pytest.approx(0.8, abs=0.02)
        assert fates["same"] / total == pytest.approx(0.1, abs=0.02)

    def test_masks_differ_between_epochs_and_repeat_within_an_epoch(self, renderer):
        first, again, second = (self.varied(renderer, epoch)[1] for epoch in (1, 1, 2))
        assert (first.target_mask == again.target_mask).all()
        assert (first.target_mask != second.target_mask).any()

    def test_special_tokens_are_never_masked(self, renderer):
        objective = OBJECTIVES.parse_plugin({"name": "mlm", "mask_ratio": 0.9})
        (example,) = objective.examples(FOUR[1], ExampleContext(renderer, 128))
        varied = objective.augment(example, np.random.default_rng(0), ExampleContext(renderer, 128))
        assert not np.isin(varied.targets[varied.target_mask], list(renderer.tokenizer.special_ids)).any()

    def test_a_tokenizer_without_a_mask_token_is_rejected(self, tokenizer):
        with pytest.raises(UserError, match="mask token"):
            mlm.check(tokenizer)


class TestSeq2Seq:
    def test_the_encoder_input_is_the_history_of_the_reply(self, renderer):
        frame = ExampleContext(renderer, 128, (9,))
        first, second = seq2seq.examples(FOUR[1], frame)
        prompts = [renderer.render(FOUR[1].messages[:i], add_generation_prompt=True).ids for i in (1, 3)]
        assert [first.encoder_ids.tolist(), second.encoder_ids.tolist()] == prompts
        reply_ids = [*renderer.tokenizer.encode("Sehr gern!"), renderer.tokenizer.eos_token_id]
        assert second.targets.tolist() == reply_ids
        assert second.ids.tolist() == [9, *reply_ids[:-1]]

    def test_two_decoder_start_ids_precede_the_first_target(self, renderer):
        example = next(seq2seq.examples(FOUR[0], ExampleContext(renderer, 128, (9, 8))))
        assert example.ids[:2].tolist() == [9, 8]
        assert example.targets[0] == IGNORED
        assert example.targets[1:].tolist() == [
            *renderer.tokenizer.encode("How can I help you today?"),
            renderer.tokenizer.eos_token_id,
        ]

    def test_a_long_history_loses_its_oldest_exchanges(self, renderer):
        talk = dialogue(*["The lamp is broken again"] * 19, "Thank you")
        example = list(seq2seq.examples(talk, ExampleContext(renderer, 60, (9,))))[-1]
        fitting = [renderer.render(talk.messages[i:-1], add_generation_prompt=True).ids for i in range(0, 19, 2)]
        assert example.encoder_ids.tolist() == next(ids for ids in fitting if len(ids) < 60)

    @torch.no_grad()
    def test_the_loss_equals_that_of_transformers(self, renderer, model_for):
        """Batched with padding on both sides, as transformers computes it for one reply at a time."""
        model = model_for(seq2seq)
        data = dataset(seq2seq, FOUR, renderer, model)
        collated = list(data.batches(3))
        loss = step_loss(seq2seq, model, collated).item()
        summed = 0.0
        for index in range(len(data)):
            example = data.example(index)
            out = model.module(
                input_ids=torch.from_numpy(example.encoder_ids[None].astype(np.int64)),
                labels=torch.from_numpy(example.targets[None].astype(np.int64)),
            )
            summed += out.loss.item() * len(example.targets)
        assert loss == pytest.approx(summed / len(data), rel=1e-4)


def test_decoder_start_ids_are_the_same_in_training_and_serving(recipe, tmp_path, tokenizer, no_loss_plot):
    """Also if only the base's config has them; transformers moves them when it saves."""
    from transformers import BartConfig, BartForConditionalGeneration

    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=tokenizer.vocab_size, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=96,
        decoder_start_token_id=2, forced_bos_token_id=5, forced_eos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(tmp_path / "bart")
    (tmp_path / "bart" / "generation_config.json").unlink()
    published = json.loads((tmp_path / "bart" / "config.json").read_text())
    (tmp_path / "bart" / "config.json").write_text(json.dumps({**published, "forced_bos_token_id": 5}))
    tokenizer.save(tmp_path / "bart")
    data = {"train": str(written(FOUR * 2, tmp_path / "data.jsonl"))}
    model = {"from": str(tmp_path / "bart")}
    run_config = recipe(objective="seq2seq", model=model, data=data, max_steps=1, neftune_noise_alpha=5.0)
    start = transformers_checkpoint.load(tmp_path / "bart").decoder_start_ids
    run_recipe(run_config, device=CPU)
    assert transformers_checkpoint.load(Path(run_config.out)).decoder_start_ids == start


class TestSpan:
    @given(st.integers(4, 400), st.floats(0.05, 0.8), st.floats(1, 8), st.integers(0, 2**31))
    @settings(max_examples=200, deadline=None)
    def test_spans_are_disjoint_and_cover_the_corruption_ratio(self, length, share, mean, seed):
        spans = sample_spans(length, share, mean, np.random.default_rng(seed))
        assert all(start < end for start, end in spans)
        assert all(first[1] < second[0] for first, second in pairwise(spans))
        assert spans[0][0] >= 0
        assert spans[-1][1] <= length
        assert sum(end - start for start, end in spans) == min(max(round(length * share), 1), length - 1)

    def test_encoder_input_and_target_together_are_the_text(self, renderer):
        frame = ExampleContext(renderer, 128, (0,))
        objective = OBJECTIVES.parse_plugin({"name": "span", "corruption_ratio": 0.3})
        sentinels = [renderer.tokenizer.token_to_id(text) for text in objective.special_tokens()[:8]]
        for item in TEXTS:
            for example in objective.examples(item, frame):
                for seed in range(5):
                    varied = objective.augment(example, np.random.default_rng(seed), frame)
                    pieces, piece = {}, None
                    for id in varied.targets.tolist():
                        if id in sentinels:
                            piece = pieces.setdefault(id, [])
                        else:
                            piece.append(id)
                    restored = [id for token in varied.encoder_ids.tolist() for id in pieces.get(token, [token])]
                    assert restored == example.ids.tolist()

    def test_a_tokenizer_without_sentinels_is_rejected(self, tokenizer):
        with pytest.raises(UserError, match="<extra_id_0>"):
            span.check(tokenizer)


class TestPreferences:
    def log_prob(self, model, renderer, messages):
        """log P(last message | earlier messages), token by token."""
        x = renderer.render(messages[:-1], add_generation_prompt=True).ids
        y = [*renderer.tokenizer.encode(messages[-1].content), renderer.tokenizer.eos_token_id]
        logits_TV = model.decoder.logits(model.decoder(torch.tensor([x + y])))[0]
        return sum(F.log_softmax(logits_TV[len(x) + k - 1], dim=0)[y[k]].item() for k in range(len(y)))

    @torch.no_grad()
    def test_segment_log_probs_are_those_of_the_replies(self, renderer, model_for):
        model = model_for(dpo)
        data = dataset(dpo, PAIRS, renderer, model)
        batch = data.batch([replace(data.rows()[0], examples=list(range(4)))])
        log_probs = segment_log_probs(model, batch).view(-1, 2).tolist()
        for pair, (chosen, rejected) in zip(PAIRS, log_probs, strict=True):
            assert chosen == pytest.approx(self.log_prob(model, renderer, pair.messages), rel=1e-4)
            assert rejected == pytest.approx(self.log_prob(model, renderer, pair.rejected), rel=1e-4)

    @pytest.mark.parametrize("options", [{}, {"beta": 0.5, "label_smoothing": 0.2}, {"sft_weight": 0.7}])
    @torch.no_grad()
    def test_the_dpo_loss_equals_the_formula(self, renderer, model_for, options):
        objective = OBJECTIVES.parse_plugin({"name": "dpo", **options})
        model = model_for(objective)
        data = dataset(objective, PAIRS, renderer, model)
        base = [[self.log_prob(model, renderer, end) for end in (pair.messages, pair.rejected)] for pair in PAIRS]
        for parameter in model.module.parameters():
            parameter.mul_(1.3)
        beta, smoothing = options.get("beta", 0.1), options.get("label_smoothing", 0.0)
        sft_weight = options.get("sft_weight", 0.0)
        expected, right = 0.0, 0
        for pair, (better, worse) in zip(PAIRS, base, strict=True):
            now = self.log_prob(model, renderer, pair.messages)
            margin = beta * (now - better - self.log_prob(model, renderer, pair.rejected) + worse)
            expected += (1 - smoothing) * math.log1p(math.exp(-margin)) + smoothing * math.log1p(math.exp(margin))
            tokens = len(renderer.tokenizer.encode(pair.messages[-1].content)) + 1
            expected -= sft_weight * now / tokens
            right += margin > 0
        collated = batches(data, 2)
        assert step_loss(objective, model, collated).item() == pytest.approx(expected / 4, rel=1e-4)
        assert sum(objective.loss(model, batch).extra_metrics["accuracy"] for batch in collated) == right

    @torch.no_grad()
    def test_segments_of_a_pair_do_not_attend_to_each_other_in_transformers_models(self, renderer):
        """Only our decoder masks segments within a row; transformers gets one row per segment."""
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        torch.manual_seed(0)
        config = GPTNeoXConfig(
            vocab_size=renderer.tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=128, initializer_range=0.3,
        )  # fmt: skip
        model = TransformersModel(GPTNeoXForCausalLM(config).eval(), "decoder", {})
        frame = ExampleContext(renderer, 128)
        (pair,) = dpo.examples(PAIRS[1], frame)
        together = segment_log_probs(model, collate([[pair]], pad_id=0))
        size = pair.segment_lengths[0]
        ends = [Example(pair.ids[segment], pair.targets[segment]) for segment in (slice(0, size), slice(size, None))]
        alone = [segment_log_probs(model, collate([[end]], pad_id=0)).item() for end in ends]
        assert together.tolist() == pytest.approx(alone, rel=1e-5)

    @torch.no_grad()
    def test_the_dpo_loss_is_log_two_before_training(self, renderer, model_for):
        model = model_for(dpo)
        data = dataset(dpo, PAIRS, renderer, model)
        assert step_loss(dpo, model, batches(data, 4)).item() == pytest.approx(math.log(2), rel=1e-5)

    def test_a_pair_without_a_rejected_reply_is_rejected(self, renderer):
        with pytest.raises(InvalidData, match="rejected"):
            encoded(dpo, FOUR[:1], renderer)

    def test_a_long_prompt_loses_its_beginning_and_both_replies_stay(self, renderer):
        history = dialogue(*["The lamp is broken again"] * 21).messages
        pair = Conversation(
            (*history, Message("assistant", "Thank you")), rejected=(*history, Message("assistant", "No"))
        )
        (example,) = encoded(dpo, [pair], renderer, length=60)
        assert example.size <= 60
        learned = renderer.tokenizer.decode(example.targets[example.target_mask].tolist(), skip_special_tokens=False)
        assert learned == "Thank you<|end|>No<|end|>"

    @torch.no_grad()
    def test_the_kto_loss_equals_the_formula(self, renderer, model_for):
        """z₀ is estimated from each prompt with the previous answer; class weights balance good and bad."""
        model = model_for(kto)
        data = dataset(kto, RATED, renderer, model)
        mismatched = [(*talk.messages[:-1], RATED[i - 1].messages[-1]) for i, talk in enumerate(RATED)]
        base = [self.log_prob(model, renderer, talk.messages) for talk in RATED]
        base_mismatched = [self.log_prob(model, renderer, talk) for talk in mismatched]
        for parameter in model.module.parameters():
            parameter.mul_(1.3)
        gained = [self.log_prob(model, renderer, talk.messages) - b for talk, b in zip(RATED, base, strict=True)]
        others = [self.log_prob(model, renderer, talk) - b for talk, b in zip(mismatched, base_mismatched, strict=True)]
        z = max(0.0, sum(others) / 4)
        expected = 0.0
        for talk, r in zip(RATED, gained, strict=True):
            sign, weight = (1, 1.0) if talk.rating else (-1, 3.0)
            expected += weight * (1 - 1 / (1 + math.exp(-0.1 * sign * (r - z))))
        assert step_loss(kto, model, batches(data, 2)).item() == pytest.approx(expected / 4, rel=1e-4)

    @pytest.mark.parametrize("more", [{"repeat": 0.5}, {"weight": 2}], ids=str)
    def test_partially_repeated_sources_have_reference_log_probs(self, recipe, tmp_path, more, no_loss_plot):
        files = [str(written(PAIRS, tmp_path / f"{name}.jsonl")) for name in "ab"]
        sources = [{"path": files[0], **more}, {"path": files[1], **({"weight": 1} if "weight" in more else {})}]
        dpo_recipe = recipe(objective="dpo", data={"train": sources, "valid": files[1]}, max_steps=2)
        assert run_recipe(dpo_recipe, device=CPU).steps == 2

    def test_good_and_bad_answers_are_balanced_across_files(self, recipe, renderer, tmp_path):
        from turnwise.training.examples.load_datasets import load_datasets
        from turnwise.training.launch.base_model_loader import load_base_model

        files = [
            str(written([talk for talk in RATED if talk.rating is good], tmp_path / f"{good}.jsonl"))
            for good in (True, False)
        ]
        kto_recipe = recipe(objective="kto", data={"train": files, "valid_fraction": 0})
        base = load_base_model(kto_recipe)
        train = load_datasets(kto_recipe, base.renderer, base.model).train
        assert [shard.segment_labels["rating"].tolist() for shard in train.shards] == [[1.0, 1.0, 1.0], [-3.0]]

    def test_class_weights_in_the_recipe_are_used(self):
        objective = OBJECTIVES.parse_plugin({"name": "kto", "desirable_weight": 2.0, "undesirable_weight": 5.0})
        assert objective.balance_labels("rating", np.array([1, -1, 1], np.float32)).tolist() == [2.0, -5.0, 2.0]

    def test_answers_of_a_single_class_have_weight_one(self):
        assert kto.balance_labels("rating", np.array([1, 1], np.float32)).tolist() == [1.0, 1.0]

    def test_an_answer_without_a_label_is_rejected(self, renderer):
        with pytest.raises(InvalidData, match="no rating"):
            encoded(kto, FOUR[:1], renderer)
