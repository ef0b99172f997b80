"""Every interaction format: training, evaluation and serving use the same token ids, for random conversations."""

import asyncio

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from turnwise.app.evaluation_requests import RequestMaker
from turnwise.chat.formats import FORMATS, apply_format, create_format, load_format
from turnwise.chat.service import EngineChatService
from turnwise.core.chat_request import ChatRequest, ContextOptions
from turnwise.core.inference import FinishEvent
from turnwise.core.messages import Message
from turnwise.evaluation.samples import LoglikelihoodQuery
from turnwise.evaluation.scored_span import find_scored_span
from turnwise.text.rendering.renderer import Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.examples.dialogue_windows import split_dialogue
from turnwise.training.objective import ExampleContext

CONTEXT = 4000
OWN_FORMAT = """\
{%- set turn_format = {"stop": ["\n# "], "trim": true} -%}
{%- for message in messages -%}
{{ "# " + message.role + "\n" + message.content | trim + "\n" }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ "# assistant\n" }}{%- else -%}{{ "# " }}{%- endif -%}
"""
FORMAT_NAMES = [*FORMATS.names(), "own file"]


def gpt2_tokenizer(corpus):
    """A tokenizer as GPT-2 has it: byte-level BPE, one special token, no chat template."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    backend.train_from_iterator([*corpus, "Human: a\nAssistant: b\n", ".\n", "\n\n"], trainer)
    return Tokenizer(backend, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})


def with_start_token(tokenizer):
    """The tokenizer, which puts a start token before every text as Llama's does."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens(["<|begin|>"])
    begin = backend.token_to_id("<|begin|>")
    backend.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", begin)])
    return Tokenizer(backend, {**tokenizer.special_tokens_map, "bos_token": "<|begin|>"})


@pytest.fixture(scope="module", params=["gpt2", "turnwise", "start token"])
def base_tokenizer(request, corpus, tokenizer):
    kinds = {
        "gpt2": lambda: gpt2_tokenizer(corpus),
        "turnwise": lambda: tokenizer,
        "start token": lambda: with_start_token(tokenizer),
    }
    return kinds[request.param]()


@pytest.fixture(scope="module", params=FORMAT_NAMES)
def renderer(request, base_tokenizer, tmp_path_factory):
    if request.param == "own file":
        path = tmp_path_factory.mktemp("formats") / "own.jinja"
        path.write_text(OWN_FORMAT)
        interaction_format = load_format(str(path))
    else:
        interaction_format = create_format(request.param)
    return Renderer.from_tokenizer(apply_format(base_tokenizer, interaction_format))


words = st.sampled_from(
    [
        "Hello",
        " there",
        "5",
        " 3.5",
        ".\n",
        "\n",
        "\nHuman:",
        "\nAssistant: ",
        "Mira: ",
        "\n# ",
        " ",
        "你好",
        "🚚",
        "|end|",
        ":",
    ]
)
contents = st.lists(words, min_size=1, max_size=6).map("".join).filter(str.strip)
names = st.sampled_from([None, "Mira", "Tom"])


@st.composite
def conversations(draw):
    """One to four exchanges, perhaps after a system message."""
    messages = [Message("system", draw(contents))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 4))):
        messages.append(Message("user", draw(contents), name=draw(names)))
        messages.append(Message("assistant", draw(contents), name=draw(names)))
    return messages


class RecordingEngine:
    """Records the requests and answers nothing."""

    context_length, is_encoder_decoder, is_healthy = CONTEXT, False, True

    def __init__(self):
        self.requests = []

    def max_new_tokens(self, prompt):
        return self.context_length - prompt

    def submit(self, request, on_event):
        self.requests.append(request)
        on_event(FinishEvent("stop"))
        return self

    def cancel(self):
        pass


def served_prompt(renderer, history, reply):
    """The prompt that the engine gets for a history. The model speaks as the author of `reply`."""
    service = EngineChatService("tiny", 0, "fp", renderer, RecordingEngine())
    variables = renderer.prompt_variables(reply) or {}
    request = ChatRequest(tuple(history), context=ContextOptions(chat_template_kwargs=variables))
    if service.interaction_format.PREPARES:  # of a question that the model does not rewrite
        return list(service.build_request(request).prompt_ids)
    asyncio.run(service.reply(request))
    return list(service.engine.requests[-1].prompt_ids)


@given(messages=conversations())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_reply_is_trained_after_the_prompt_that_serving_sends(renderer, messages):
    context = ExampleContext(renderer, CONTEXT)
    replies = [index for index, message in enumerate(messages) if message.role == "assistant"]
    windows = list(split_dialogue(messages, replies, context))
    trained = {reply.index: (window.ids, reply) for window in windows for reply in window.replies}
    assert sorted(trained) == replies
    for index, (ids, reply) in trained.items():
        assert served_prompt(renderer, messages[:index], messages[index]) == ids[: reply.start]
        text = renderer.tokenizer.decode(ids[reply.start : reply.end])
        if stops := renderer.stop_strings(messages):
            assert text.endswith(stops), "the model learns to write a stop string"
        else:
            assert ids[reply.end - 1] in renderer.tokenizer.special_ids, "the model learns to write the stop token"


@given(messages=conversations())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_evaluation_asks_and_scores_what_is_trained(renderer, messages):
    service = EngineChatService("tiny", 0, "fp", renderer, RecordingEngine())
    if renderer.turn_format.stop_at_speakers:  # evaluation generates as the last assistant of the history
        messages = [Message(message.role, message.content) for message in messages]
    (window,) = split_dialogue(messages, [len(messages) - 1], ExampleContext(renderer, CONTEXT))
    (reply,) = window.replies
    request = RequestMaker(service)(tuple(messages[:-1]), {}, ())
    if not service.interaction_format.PREPARES:  # with a history, the question is rewritten
        assert list(request.prompt_ids) == window.ids[: reply.start]
    scored = find_scored_span(renderer, LoglikelihoodQuery(tuple(messages)), CONTEXT)
    assert scored.positions == tuple(range(reply.start, reply.end))
    assert list(scored.token_ids) == window.ids[: reply.end]


@pytest.mark.parametrize("name", FORMATS.names())
def test_transformers_renders_the_same_ids_from_the_saved_folder(tokenizer, tmp_path, name):
    import transformers

    apply_format(tokenizer, create_format(name)).save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    messages = [
        Message("system", "Be kind."),
        Message("user", "Hello\nHuman: 5", name="Tom"),
        Message("assistant", "Hi. ", name="Mira"),
        Message("user", "And you?"),
    ]
    plain = [message.as_dict() for message in messages]
    ids = theirs.apply_chat_template(plain, tokenize=True, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == Renderer.from_tokenizer(Tokenizer.load(tmp_path)).render(messages, add_generation_prompt=True).ids
