"""A model behind its engine says what it says when it is served, and what is read of a text is what it is given."""

import pytest
import torch
from torch.nn import functional as F

from torch_reference.perplexity import measure_perplexity
from turnwise.app.chat_services import open_chat_service
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import TurnwiseError
from turnwise.core.messages import Conversation, Message
from turnwise.engine.native.library import library
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.response_cache import ResponseCache
from turnwise.evaluation.samples import GenerationQuery, LoglikelihoodQuery
from turnwise.models import checkpoint
from turnwise.models.adapters import LoraWeights, save_adapter

pytestmark = pytest.mark.usefixtures("one_thread")


def talk(*texts):
    return tuple(Message(("user", "assistant")[at % 2], text) for at, text in enumerate(texts))


TALKS = [
    talk("Hello", "How can I help you today?", "The lamp is broken", "I'd like to order a new one. 🚚"),
    talk("你好", "请问我能帮你什么忙?"),
    talk("Order 1234567", "It costs 19.99 €."),
    talk("The lamp " * 15, "It is long. " * 3, "Is it?", "Yes."),
]


@pytest.fixture
def opened(model_folder):
    with open_model_under_test(str(model_folder), ResponseCache(None), sampling={"max_tokens": 12}) as found:
        yield found


def quiet(_):
    """Nobody looks at the progress."""


class TestScores:
    def test_of_a_whole_dialogue_is_what_the_decoder_computes_directly(self, opened, model_folder, renderer):
        decoder = checkpoint.load(model_folder, dtype=torch.float32).decoder
        (metric,) = load_metrics(["bits_per_byte"])
        for messages in TALKS:
            (item,) = metric.samples([Conversation(messages)], 0)
            found = opened.loglikelihood(item.loglikelihood_queries, quiet)
            direct = measure_perplexity(decoder, renderer, [Conversation(messages)])
            assert sum(one.nll for one in found) == pytest.approx(direct.nats, rel=1e-5)
            assert sum(one.num_tokens for one in found) == direct.tokens
            assert sum(one.num_bytes for one in found) == direct.bytes

    def test_of_the_last_reply_token_by_token(self, opened, model_folder, renderer):
        decoder = checkpoint.load(model_folder, dtype=torch.float32).decoder
        for messages in TALKS:
            (found,) = opened.loglikelihood([LoglikelihoodQuery(messages)], quiet)
            said = renderer.render(messages[:-1], add_generation_prompt=True).ids
            reply = [*renderer.tokenizer.encode(messages[-1].content), renderer.tokenizer.eos_token_id]
            with torch.inference_mode():
                logits = decoder.logits(decoder(torch.tensor([said + reply])))[0]
            nats = F.cross_entropy(logits[len(said) - 1 : -1], torch.tensor(reply), reduction="sum").item()
            assert found.nll == pytest.approx(nats, rel=1e-5)
            assert (found.num_tokens, found.num_bytes) == (len(reply), len(messages[-1].content.encode()))

    def test_together_are_those_of_each_alone(self, opened):
        wanted = [LoglikelihoodQuery(messages[:end]) for messages in TALKS for end in range(2, len(messages) + 1, 2)]
        assert opened.loglikelihood(wanted, quiet) == [opened.loglikelihood([one], quiet)[0] for one in wanted]

    def test_what_is_too_long_loses_its_beginning(self, opened):
        long = (*talk("Hello", "Hi there."), *talk("lamp " * 400, "Yes, the lamp."))
        assert len(opened.renderer.render(long).ids) > opened.engine.context_length
        (last,) = opened.loglikelihood([LoglikelihoodQuery(long)], quiet)
        assert last.num_bytes == len("Yes, the lamp.")
        assert last.nll > 0


class TestWhatIsServedOtherwise:
    """Thin matrices beside their base, and rounded weights, are measured as they are served."""

    SCORES = tuple(LoglikelihoodQuery(messages[:end]) for messages in TALKS for end in range(2, len(messages) + 1, 2))

    def test_an_adapter_beside_its_base(self, opened, model_folder, tmp_path, tokenizer, renderer):
        generator = torch.Generator().manual_seed(0)
        changes = {
            f"model.layers.{layer}.{place}": LoraWeights(
                torch.randn(3, 32, generator=generator), torch.randn(size, 3, generator=generator)
            )
            for layer in range(2)
            for place, size in (("self_attn.q_proj", 32), ("mlp.up_proj", 64))
        }
        save_adapter(tmp_path, changes, base=model_folder, rank=3, alpha=3, dropout=0, task_type="CAUSAL_LM")
        tokenizer.save(tmp_path)
        with open_model_under_test(str(tmp_path), ResponseCache(None)) as beside:
            found = beside.loglikelihood(self.SCORES, quiet)
        merged = checkpoint.load(tmp_path, dtype=torch.float32).decoder
        direct = measure_perplexity(merged, renderer, [Conversation(messages) for messages in TALKS])
        assert sum(one.nll for one in found) == pytest.approx(direct.nats, rel=1e-4)
        base = opened.loglikelihood(self.SCORES, quiet)
        assert all(abs(one.nll - other.nll) > 0.1 for one, other in zip(found, base, strict=True))
        assert beside.fingerprint != opened.fingerprint

    @pytest.mark.parametrize("bits", ["int8", "int4"])
    def test_rounded_weights(self, opened, model_folder, bits):
        if library() is None:
            pytest.skip("no compiled library")
        plain = opened.loglikelihood(self.SCORES, quiet)
        with open_model_under_test(str(model_folder), ResponseCache(None), quantize=bits) as rounded:
            found = rounded.loglikelihood(self.SCORES, quiet)
        assert [one.nll for one in found] == pytest.approx([one.nll for one in plain], rel=0.05)
        assert [one.nll for one in found] != [one.nll for one in plain]
        assert rounded.fingerprint != opened.fingerprint


class TestAnswers:
    def test_are_what_is_served(self, opened, model_folder):
        import asyncio

        asks = [GenerationQuery(messages[:-1], greedy=True) for messages in TALKS]
        found = opened.generate([(ask, 0) for ask in asks], quiet)
        with open_chat_service(str(model_folder)) as service:
            for ask, answer in zip(asks, found, strict=True):
                turn = ChatRequest(ask.history, sampling={"temperature": 0, "max_tokens": 12})
                assert asyncio.run(service.reply(turn)).text == answer.text

    def test_a_seed_is_the_same_dice_and_another_one_others(self, opened, model_folder):
        asks = [GenerationQuery(messages[:-1]) for messages in TALKS[:3]]
        one = opened.generate([(ask, 1) for ask in asks], quiet)
        with open_model_under_test(str(model_folder), ResponseCache(None), sampling={"max_tokens": 12}) as again:
            assert again.generate([(ask, 1) for ask in asks], quiet) == one
            assert again.generate([(ask, 2) for ask in asks], quiet) != one

    def test_a_history_that_does_not_fit_loses_its_oldest_rounds(self, opened):
        long = (Message("system", "Be kind."), *talk("lamp " * 400, "Yes.", "And the order?"))
        (answer,) = opened.generate([(GenerationQuery(long, greedy=True), 0)], quiet)
        (short,) = opened.generate([(GenerationQuery((long[0], long[-1]), greedy=True), 0)], quiet)
        assert answer == short

    def test_what_a_context_has_no_room_for_is_shortened_before_anything_is_forgotten(self, model_folder):
        """The tiny model reads 128 tokens: an answer of 128 leaves room for nothing."""
        with open_model_under_test(str(model_folder), ResponseCache(None), sampling={"max_tokens": 128}) as opened:
            (answer,) = opened.generate([(GenerationQuery(talk("The lamp is broken. " * 6), greedy=True), 0)], quiet)
            assert answer.num_tokens > 0
            (nothing,) = opened.generate([(GenerationQuery(talk("lamp " * 400), greedy=True), 0)], quiet)
            assert (nothing.text, nothing.finish_reason) == ("", "length")

    def test_stop_strings_end_them_as_they_do_when_served(self, model_folder):
        asks = [GenerationQuery(TALKS[0][:1], temperature=heat / 4) for heat in range(1, 9)]
        with open_model_under_test(str(model_folder), ResponseCache(None), sampling={"max_tokens": 12}) as opened:
            found = opened.generate([(ask, 0) for ask in asks], quiet)
        ask, whole = max(zip(asks, found, strict=True), key=lambda pair: len(pair[1].text))
        mark = whole.text[1:3]
        with open_model_under_test(
            str(model_folder), ResponseCache(None), sampling={"max_tokens": 12, "stop": [mark]}
        ) as opened:
            (cut,) = opened.generate([(ask, 0)], quiet)
        assert cut.text == whole.text[: whole.text.find(mark)]


class TestCache:
    def test_a_model_that_differs_in_its_middle_only_is_another_one(self, tmp_path, tiny_config, tokenizer):
        from dataclasses import replace

        from turnwise.models.model_folders import weights_digest
        from turnwise.training.export import export_model

        large = replace(tiny_config, hidden_size=256, intermediate_size=700, num_layers=4)
        model = checkpoint.create(large, seed=0)
        export_model(tmp_path / "one", model, tokenizer)
        with torch.no_grad():
            model.decoder.layers[2].mlp.down.weight[100, 100] += 1
        export_model(tmp_path / "other", model, tokenizer)
        assert (tmp_path / "one" / "model.safetensors").stat().st_size > 4 * 2**20
        assert weights_digest(tmp_path / "one") != weights_digest(tmp_path / "other")

    def test_what_is_known_is_not_computed_again(self, opened, monkeypatch):
        asks, scores = (
            [(GenerationQuery(messages[:-1]), 0) for messages in TALKS],
            [LoglikelihoodQuery(messages) for messages in TALKS],
        )
        first = opened.generate(asks, quiet), opened.loglikelihood(scores, quiet)
        monkeypatch.setattr(opened.engine, "submit", lambda *_: pytest.fail("it was known"))
        done = []
        assert (opened.generate(asks, done.append), opened.loglikelihood(scores, quiet)) == first
        assert sum(done) == len(asks)

    def test_it_outlives_the_process_and_knows_models_apart(self, tmp_path, model_folder, tiny_config, tokenizer):
        from turnwise.training.export import export_model

        export_model(tmp_path / "other", checkpoint.create(tiny_config, seed=9), tokenizer)
        scores, found = [LoglikelihoodQuery(TALKS[0])], []
        for folder in (model_folder, tmp_path / "other", model_folder):
            cache = ResponseCache(tmp_path / "known.db")
            with open_model_under_test(str(folder), cache) as one:
                found += one.loglikelihood(scores, quiet)
            cache.close()
        assert found[0] == found[2] != found[1]

    def test_after_an_interrupt_it_goes_on_where_it_was(self, tmp_path, model_folder, monkeypatch):
        scores = [
            LoglikelihoodQuery((Message("user", f"order {number}"), Message("assistant", "Yes.")))
            for number in range(40)
        ]
        cache = ResponseCache(tmp_path / "known.db")
        with open_model_under_test(str(model_folder), cache) as one:
            seen = 0

            def interrupt(count):
                nonlocal seen
                seen += count
                if seen >= 10:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                one.loglikelihood(scores, interrupt)
        cache.close()
        cache = ResponseCache(tmp_path / "known.db")
        with open_model_under_test(str(model_folder), cache) as one:
            asked = []
            real = one.engine.submit
            monkeypatch.setattr(one.engine, "submit", lambda *all: (asked.append(1), real(*all))[1])
            assert len(one.loglikelihood(scores, quiet)) == 40
            assert len(asked) <= 30

    def test_what_was_put_comes_back(self, tmp_path):
        cache = ResponseCache(tmp_path / "known.db")
        cache.put("a", {"text": "你好"})
        cache.close()
        assert ResponseCache(tmp_path / "known.db").get(["a", "b"]) == {"a": {"text": "你好"}}


def test_a_model_that_fails_is_named(opened, monkeypatch):
    from turnwise.core.inference import ErrorEvent

    class RequestHandle:
        def cancel(self):
            """Nothing runs."""

    def fail(request, listener):
        listener(ErrorEvent(TurnwiseError("no memory")))
        return RequestHandle()

    monkeypatch.setattr(opened.engine, "submit", fail)
    with pytest.raises(TurnwiseError, match="failed: no memory"):
        opened.loglikelihood([LoglikelihoodQuery(TALKS[0])], quiet)


def test_items_are_the_last_replies():
    talks = [Conversation(messages, {"topic": "lamps"}) for messages in (*TALKS, talk("Nobody answers this"))]
    items = last_reply_samples(talks)
    assert len({item.group for item in items}) == 4
    (again,) = last_reply_samples([Conversation((*TALKS[0][:-1], Message("assistant", "No.")))])
    assert again.group == items[0].group, "the same question twice is not two"
    assert items[0].reference == TALKS[0][-1].content
    assert items[0].generation_queries[0].history == TALKS[0][:-1]
