"""Models that transformers computes: the answers of `generate`, through the same engine as our decoder."""

import threading

import pytest
import torch
from reference import VOCAB, EventRecorder, prompts, request
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BlenderbotConfig,
    BlenderbotForConditionalGeneration,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from turnwise.core.errors import ContextLengthExceeded, UserError
from turnwise.core.inference import TokenEvent
from turnwise.core.parameters import GenerationParams
from turnwise.engine.transformers_engine import create_transformers_engine
from turnwise.models import transformers_checkpoint
from turnwise.models.model_kind import detect_model_kind, is_native

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.timeout(120)]

STOP = 7
IDS = {"vocab_size": VOCAB, "pad_token_id": 0, "eos_token_id": STOP}
BART = {
    "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 80, "init_std": 0.4, "bos_token_id": 1,
    "decoder_start_token_id": 2, "forced_eos_token_id": None,
}  # fmt: skip
SHAPES = {
    "t5": (
        T5ForConditionalGeneration,
        T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0, n_positions=80,
                 initializer_factor=4.0, **IDS),
    ),
    "bart": (BartForConditionalGeneration, BartConfig(forced_bos_token_id=None, **BART, **IDS)),
    "blenderbot": (BlenderbotForConditionalGeneration, BlenderbotConfig(**BART, **IDS)),
    "gpt_neox": (
        GPTNeoXForCausalLM,
        GPTNeoXConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
                      max_position_embeddings=80, initializer_range=0.4, bos_token_id=None, **IDS),
    ),
    "opt": (
        OPTForCausalLM,
        OPTConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48, word_embed_proj_dim=32,
                  max_position_embeddings=80, init_std=0.4, bos_token_id=None, **IDS),
    ),
}  # fmt: skip
DECODERS = ("gpt_neox", "opt")


@pytest.fixture(scope="module", params=SHAPES)
def model(request, tmp_path_factory):
    kind, config = SHAPES[request.param]
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp(request.param)
    kind(config).save_pretrained(folder)
    assert detect_model_kind(folder) == ("decoder" if request.param in DECODERS else "encoder_decoder")
    assert not is_native(folder)
    return transformers_checkpoint.load(folder)


@pytest.fixture
def encoder_decoder(model):
    if model.kind != "encoder_decoder":
        pytest.skip("the model has no encoder")
    return model


@pytest.fixture
def engine(model):
    engine = create_transformers_engine(model, max_num_seqs=12)
    yield engine
    engine.close()


class WaitingRecorder(EventRecorder):
    finish = None

    def __init__(self, answers=1):
        super().__init__()
        self.is_done = threading.Semaphore(0)
        self.answers = answers

    def __call__(self, event):
        super().__call__(event)
        if event.finish_reason:
            self.is_done.release()

    def wait(self):
        for _ in range(self.answers):
            assert self.is_done.acquire(timeout=60)
            if self.events[-1].finish_reason == "error":
                raise self.events[-1].error
        return [self.of(index) for index in range(self.answers)]

    def of(self, index):
        answer_events = [event for event in self.events if event.index == index]
        return [event.token_id for event in answer_events if isinstance(event, TokenEvent)], answer_events[
            -1
        ].finish_reason


def hf_answers(model, source, max_tokens=14, **params):
    with torch.inference_mode():
        ids = torch.tensor([source])
        out = model.module.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False, eos_token_id=STOP,
            pad_token_id=0, **params,
        )  # fmt: skip
    answers = []
    for row in out[:, len(model.decoder_start_ids) or len(source) :].tolist():
        has_stop = STOP in row
        answers.append((row[: row.index(STOP)], "stop") if has_stop else (row, "length"))
    return answers


SOURCES = prompts([1, 5, 23, 23, 60], seed=4)


def generation_request(source, max_tokens=14, answers=1, **params):
    return request(
        source, params=GenerationParams(**params), max_tokens=max_tokens, stop=[STOP], num_return_sequences=answers
    )


def test_greedy_answers_in_a_batch_equal_those_of_transformers(engine, model):
    recorders = [WaitingRecorder() for _ in SOURCES]
    for source, recorder in zip(SOURCES, recorders, strict=True):
        engine.submit(generation_request(source, temperature=0), recorder)
    for source, recorder in zip(SOURCES, recorders, strict=True):
        assert recorder.wait() == hf_answers(model, source)


@pytest.mark.parametrize(
    "params",
    [{"num_beams": 5, "early_stopping": True}, {"num_beams": 3, "length_penalty": 0.6, "no_repeat_ngram_size": 2}],
    ids=str,
)
def test_beam_search_answers_equal_those_of_transformers(engine, model, params):
    answers = params["num_beams"]
    for source in SOURCES[:3]:
        recorder = WaitingRecorder(answers)
        engine.submit(generation_request(source, answers=answers, **params), recorder)
        assert recorder.wait() == hf_answers(model, source, num_return_sequences=answers, **params)


def test_an_encoder_input_is_encoded_once(engine, encoder_decoder, monkeypatch):
    encoder, calls = encoder_decoder.module.get_encoder(), []
    forward = encoder.forward

    def counting(*args, **more):
        calls.append(1)
        return forward(*args, **more)

    monkeypatch.setattr(encoder, "forward", counting)
    for _ in range(3):
        recorder = WaitingRecorder()
        engine.submit(generation_request(SOURCES[2], seed=1), recorder)
        recorder.wait()
    assert len(calls) == 1


def test_penalties_apply_to_the_answer_and_not_to_the_encoder_input(engine, encoder_decoder):
    recorder = WaitingRecorder()
    engine.submit(generation_request(SOURCES[2], temperature=0, repetition_penalty=1.5), recorder)
    assert recorder.wait() == hf_answers(encoder_decoder, SOURCES[2], repetition_penalty=1.5)


def test_a_decoder_reuses_a_cached_prefix(engine, model):
    """The second turn computes only its new tokens and gives the answer without a cache."""
    if model.kind != "decoder":
        pytest.skip("the model has an encoder")
    first = WaitingRecorder()
    engine.submit(generation_request(SOURCES[3], temperature=0), first)
    ((output_ids, _),) = first.wait()
    second, longer = WaitingRecorder(), [*SOURCES[3], *output_ids, 9, 11]
    engine.submit(generation_request(longer, temperature=0), second)
    assert second.wait() == hf_answers(model, longer)
    assert second.events[-1].stats.cached_tokens >= len(SOURCES[3])


def test_unsupported_requests_to_a_decoder_are_rejected(engine, model):
    if model.kind != "decoder":
        pytest.skip("the model has an encoder")
    with pytest.raises(UserError, match="not supported"):
        engine.submit(request([1, 2], prompt_output="embedding", max_tokens=0), WaitingRecorder())
    with pytest.raises(UserError, match="penalty_alpha"):
        engine.submit(generation_request([1, 2], penalty_alpha=0.5, top_k=3), WaitingRecorder())


def test_too_long_and_unsupported_requests_to_an_encoder_decoder_are_rejected(engine, encoder_decoder):
    assert engine.max_new_tokens(80) == 80 - len(encoder_decoder.decoder_start_ids)
    assert engine.max_new_tokens(81) == -1
    with pytest.raises(ContextLengthExceeded, match=r"length is 80 tokens.*your messages resulted in 81"):
        engine.submit(generation_request([1] * 81), WaitingRecorder())
    with pytest.raises(UserError, match="not supported for encoder-decoders"):
        engine.submit(request([1, 2], prompt_output="embedding", max_tokens=0), WaitingRecorder())


def test_the_context_error_of_a_beam_search_counts_every_beam():
    error = str(ContextLengthExceeded.for_prompt(160, 20, 100, beams=4))
    assert "maximum context length is 160 tokens over 4 beams" in error
    assert "requested 420 tokens (20 in the messages, 100 in the completion of each of 4 beams)" in error
