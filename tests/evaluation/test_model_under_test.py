"""Models under test answer as they are served, and score exactly the tokens of the replies."""

import asyncio
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from torch_reference.perplexity import measure_perplexity
from turnwise.app.chat_services import open_chat_service
from turnwise.app.systems_under_test import open_model_under_test
from turnwise.core.chat_request import ChatRequest
from turnwise.core.errors import TurnwiseError
from turnwise.core.inference import ErrorEvent
from turnwise.core.messages import Conversation, Message
from turnwise.engine.native.library import library
from turnwise.evaluation.last_replies import last_reply_samples
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.model_under_test import ModelUnderTest
from turnwise.evaluation.samples import GenerationQuery, LoglikelihoodQuery
from turnwise.evaluation.system_under_test import LoglikelihoodScorer, TextGenerator, missing_capabilities
from turnwise.models import checkpoint
from turnwise.models.adapters import LoraWeights, save_adapter
from turnwise.models.model_folders import weights_digest
from turnwise.store.sqlite.response_cache import SqliteResponseCache
from turnwise.training.export import export_model

pytestmark = pytest.mark.usefixtures("one_thread")


def messages_of(*texts):
    return tuple(Message(("user", "assistant")[index % 2], text) for index, text in enumerate(texts))


DIALOGUES = [
    messages_of("Hello", "How can I help you today?", "The lamp is broken", "I'd like to order a new one. 🚚"),
    messages_of("你好", "请问我能帮你什么忙?"),
    messages_of("Order 1234567", "It costs 19.99 €."),
    messages_of("The lamp " * 15, "It is long. " * 3, "Is it?", "Yes."),
]
REPLY_QUERIES = [LoglikelihoodQuery(messages[:end]) for messages in DIALOGUES for end in range(2, len(messages) + 1, 2)]


@pytest.fixture
def model(model_folder):
    with open_model_under_test(str(model_folder), SqliteResponseCache(None), sampling={"max_tokens": 12}) as model:
        yield model


def ignore_progress(_):
    pass


class TestLoglikelihood:
    def test_of_all_replies_equals_a_forward_pass_of_the_decoder(self, model, model_folder, renderer):
        decoder = checkpoint.load(model_folder, dtype=torch.float32).decoder
        (metric,) = load_metrics(["bits_per_byte"])
        for messages in DIALOGUES:
            (sample,) = metric.samples([Conversation(messages)], 0)
            loglikelihoods = model.loglikelihood(sample.loglikelihood_queries, ignore_progress)
            expected = measure_perplexity(decoder, renderer, [Conversation(messages)])
            assert sum(reply.nll for reply in loglikelihoods) == pytest.approx(expected.nats, rel=1e-5)
            assert sum(reply.num_tokens for reply in loglikelihoods) == expected.tokens
            assert sum(reply.num_bytes for reply in loglikelihoods) == expected.bytes

    def test_of_the_last_reply_equals_the_cross_entropy_of_its_tokens(self, model, model_folder, renderer):
        decoder = checkpoint.load(model_folder, dtype=torch.float32).decoder
        for messages in DIALOGUES:
            (loglikelihood,) = model.loglikelihood([LoglikelihoodQuery(messages)], ignore_progress)
            prompt = renderer.render(messages[:-1], add_generation_prompt=True).ids
            reply = [*renderer.tokenizer.encode(messages[-1].content), renderer.tokenizer.eos_token_id]
            with torch.inference_mode():
                logits_TV = decoder.logits(decoder(torch.tensor([prompt + reply])))[0]
            nll = F.cross_entropy(logits_TV[len(prompt) - 1 : -1], torch.tensor(reply), reduction="sum").item()
            assert loglikelihood.nll == pytest.approx(nll, rel=1e-5)
            assert loglikelihood.num_tokens == len(reply)
            assert loglikelihood.num_bytes == len(messages[-1].content.encode())

    def test_does_not_depend_on_the_other_queries(self, model):
        together = model.loglikelihood(REPLY_QUERIES, ignore_progress)
        assert together == [model.loglikelihood([query], ignore_progress)[0] for query in REPLY_QUERIES]

    def test_a_long_dialogue_loses_its_beginning(self, model):
        messages = (*messages_of("Hello", "Hi there."), *messages_of("lamp " * 400, "Yes, the lamp."))
        assert len(model.renderer.render(messages).ids) > model.engine.context_length
        (last,) = model.loglikelihood([LoglikelihoodQuery(messages)], ignore_progress)
        assert last.num_bytes == len("Yes, the lamp.")
        assert last.nll > 0


class TestAdaptersAndQuantizedWeights:
    def test_an_adapter_is_scored_unmerged(self, model, model_folder, tmp_path, tokenizer, renderer):
        generator = torch.Generator().manual_seed(0)
        weights = {
            f"model.layers.{layer}.{module}": LoraWeights(
                torch.randn(3, 32, generator=generator), torch.randn(size, 3, generator=generator)
            )
            for layer in range(2)
            for module, size in (("self_attn.q_proj", 32), ("mlp.up_proj", 64))
        }
        save_adapter(tmp_path, weights, base=model_folder, rank=3, alpha=3, dropout=0, task_type="CAUSAL_LM")
        tokenizer.save(tmp_path)
        with open_model_under_test(str(tmp_path), SqliteResponseCache(None)) as adapter:
            adapter_scores = adapter.loglikelihood(REPLY_QUERIES, ignore_progress)
        merged = checkpoint.load(tmp_path, dtype=torch.float32).decoder
        expected = measure_perplexity(merged, renderer, [Conversation(messages) for messages in DIALOGUES])
        assert sum(score.nll for score in adapter_scores) == pytest.approx(expected.nats, rel=1e-4)
        base_scores = model.loglikelihood(REPLY_QUERIES, ignore_progress)
        assert all(abs(a.nll - b.nll) > 0.1 for a, b in zip(adapter_scores, base_scores, strict=True))
        assert adapter.fingerprint != model.fingerprint

    @pytest.mark.parametrize("dtype", ["int8", "int4"])
    def test_quantized_weights_are_scored_as_such(self, model, model_folder, dtype):
        if library() is None:
            pytest.skip("no compiled library")
        nlls = [score.nll for score in model.loglikelihood(REPLY_QUERIES, ignore_progress)]
        with open_model_under_test(str(model_folder), SqliteResponseCache(None), quantize=dtype) as quantized:
            quantized_nlls = [score.nll for score in quantized.loglikelihood(REPLY_QUERIES, ignore_progress)]
        assert quantized_nlls == pytest.approx(nlls, rel=0.05)
        assert quantized_nlls != nlls
        assert quantized.fingerprint != model.fingerprint


class TestGeneration:
    def test_answers_are_those_of_the_chat_service(self, model, model_folder):
        queries = [GenerationQuery(messages[:-1], greedy=True) for messages in DIALOGUES]
        outputs = model.generate([(query, 0) for query in queries], ignore_progress)
        with open_chat_service(str(model_folder)) as service:
            for query, output in zip(queries, outputs, strict=True):
                request = ChatRequest(query.history, sampling={"temperature": 0, "max_tokens": 12})
                assert asyncio.run(service.reply(request)).text == output.text

    def test_a_seed_reproduces_the_answers(self, model, model_folder):
        queries = [GenerationQuery(messages[:-1]) for messages in DIALOGUES[:3]]
        outputs = model.generate([(query, 1) for query in queries], ignore_progress)
        with open_model_under_test(
            str(model_folder), SqliteResponseCache(None), sampling={"max_tokens": 12}
        ) as reopened:
            assert reopened.generate([(query, 1) for query in queries], ignore_progress) == outputs
            assert reopened.generate([(query, 2) for query in queries], ignore_progress) != outputs

    def test_a_history_that_does_not_fit_loses_its_oldest_exchanges(self, model):
        history = (Message("system", "Be kind."), *messages_of("lamp " * 400, "Yes.", "And the order?"))
        (output,) = model.generate([(GenerationQuery(history, greedy=True), 0)], ignore_progress)
        shortened = (history[0], history[-1])
        (expected,) = model.generate([(GenerationQuery(shortened, greedy=True), 0)], ignore_progress)
        assert output == expected

    def test_the_answer_is_shortened_before_the_only_exchange_is_dropped(self, model_folder):
        """The tiny model's context has 128 tokens, so an answer of 128 tokens leaves no space for a prompt."""
        with open_model_under_test(str(model_folder), SqliteResponseCache(None), sampling={"max_tokens": 128}) as model:
            history = messages_of("The lamp is broken. " * 6)
            (output,) = model.generate([(GenerationQuery(history, greedy=True), 0)], ignore_progress)
            assert output.num_tokens > 0
            too_long = messages_of("lamp " * 400)
            (empty,) = model.generate([(GenerationQuery(too_long, greedy=True), 0)], ignore_progress)
            assert (empty.text, empty.finish_reason) == ("", "length")

    def test_stop_strings_truncate_the_answer(self, model_folder):
        queries = [GenerationQuery(DIALOGUES[0][:1], temperature=number / 4) for number in range(1, 9)]
        with open_model_under_test(str(model_folder), SqliteResponseCache(None), sampling={"max_tokens": 12}) as model:
            outputs = model.generate([(query, 0) for query in queries], ignore_progress)
        query, longest = max(zip(queries, outputs, strict=True), key=lambda pair: len(pair[1].text))
        stop = longest.text[1:3]
        sampling = {"max_tokens": 12, "stop": [stop]}
        with open_model_under_test(str(model_folder), SqliteResponseCache(None), sampling=sampling) as model:
            (truncated,) = model.generate([(query, 0)], ignore_progress)
        assert truncated.text == longest.text[: longest.text.find(stop)]


class TestCapabilities:
    def test_a_decoder_generates_and_scores(self, model):
        assert missing_capabilities(model, (TextGenerator, LoglikelihoodScorer)) == []

    def test_an_encoder_decoder_only_generates(self, model):
        fields = (model.name, model.engine, model.renderer, model.make_request, {}, model.fingerprint, model.cache)
        encoder_decoder = ModelUnderTest(*fields)
        assert missing_capabilities(encoder_decoder, (TextGenerator, LoglikelihoodScorer)) == ["log-likelihoods"]

    @pytest.mark.parametrize("metric", load_metrics(), ids=lambda metric: metric.NAME)
    def test_a_metric_requires_what_its_samples_query(self, metric, intent_dialogues):
        for sample in metric.samples(intent_dialogues, 0):
            assert bool(sample.generation_queries) <= (TextGenerator in metric.REQUIRES)
            assert bool(sample.loglikelihood_queries) <= (LoglikelihoodScorer in metric.REQUIRES)


class TestCache:
    def test_models_that_differ_in_one_weight_have_different_digests(self, tmp_path, tiny_config, tokenizer):
        config = replace(tiny_config, hidden_size=256, intermediate_size=700, num_layers=4)
        model = checkpoint.create(config, seed=0)
        export_model(tmp_path / "one", model, tokenizer)
        with torch.no_grad():
            model.decoder.layers[2].mlp.down.weight[100, 100] += 1
        export_model(tmp_path / "other", model, tokenizer)
        assert (tmp_path / "one" / "model.safetensors").stat().st_size > 4 * 2**20
        assert weights_digest(tmp_path / "one") != weights_digest(tmp_path / "other")

    def test_a_cached_response_is_not_computed_again(self, model, monkeypatch):
        generation_queries = [(GenerationQuery(messages[:-1]), 0) for messages in DIALOGUES]
        loglikelihood_queries = [LoglikelihoodQuery(messages) for messages in DIALOGUES]
        outputs = model.generate(generation_queries, ignore_progress)
        loglikelihoods = model.loglikelihood(loglikelihood_queries, ignore_progress)
        monkeypatch.setattr(model.engine, "submit", lambda *_: pytest.fail("the response is in the cache"))
        progress = []
        assert model.generate(generation_queries, progress.append) == outputs
        assert model.loglikelihood(loglikelihood_queries, ignore_progress) == loglikelihoods
        assert sum(progress) == len(generation_queries)

    def test_a_file_keeps_responses_of_several_models(self, tmp_path, model_folder, tiny_config, tokenizer):
        export_model(tmp_path / "other", checkpoint.create(tiny_config, seed=9), tokenizer)
        loglikelihoods = []
        for folder in (model_folder, tmp_path / "other", model_folder):
            cache = SqliteResponseCache(tmp_path / "responses.db")
            with open_model_under_test(str(folder), cache) as model:
                loglikelihoods += model.loglikelihood([LoglikelihoodQuery(DIALOGUES[0])], ignore_progress)
            cache.close()
        assert loglikelihoods[0] == loglikelihoods[2] != loglikelihoods[1]

    def test_an_interrupted_run_continues(self, tmp_path, model_folder, monkeypatch):
        queries = [
            LoglikelihoodQuery((Message("user", f"order {number}"), Message("assistant", "Yes.")))
            for number in range(40)
        ]
        num_done = 0

        def interrupt_after_ten(count):
            nonlocal num_done
            num_done += count
            if num_done >= 10:
                raise KeyboardInterrupt

        cache = SqliteResponseCache(tmp_path / "responses.db")
        with open_model_under_test(str(model_folder), cache) as model, pytest.raises(KeyboardInterrupt):
            model.loglikelihood(queries, interrupt_after_ten)
        cache.close()
        cache = SqliteResponseCache(tmp_path / "responses.db")
        with open_model_under_test(str(model_folder), cache) as model:
            requests = []
            submit = model.engine.submit

            def recording_submit(request, listener):
                requests.append(request)
                return submit(request, listener)

            monkeypatch.setattr(model.engine, "submit", recording_submit)
            assert len(model.loglikelihood(queries, ignore_progress)) == 40
            assert len(requests) <= 30


def test_an_engine_error_is_raised(model, monkeypatch):
    class RequestHandle:
        def cancel(self):
            pass

    def fail(request, listener):
        listener(ErrorEvent(TurnwiseError("no memory")))
        return RequestHandle()

    monkeypatch.setattr(model.engine, "submit", fail)
    with pytest.raises(TurnwiseError, match="failed: no memory"):
        model.loglikelihood([LoglikelihoodQuery(DIALOGUES[0])], ignore_progress)


def test_last_reply_samples_have_the_history_and_the_reference():
    dialogues = [
        Conversation(messages, {"topic": "lamps"}) for messages in (*DIALOGUES, messages_of("Nobody answers this"))
    ]
    samples = last_reply_samples(dialogues)
    assert len({sample.group for sample in samples}) == 4
    assert samples[0].reference == DIALOGUES[0][-1].content
    assert samples[0].generation_queries[0].history == DIALOGUES[0][:-1]
    (same_history,) = last_reply_samples([Conversation((*DIALOGUES[0][:-1], Message("assistant", "No.")))])
    assert same_history.group == samples[0].group, "equal histories are one group"
