"""Training, evaluation and serving use the same token ids for a dialogue.

A chat template that differs between training and serving is a common bug that raises no error. The tests compare the
ids at the end of each path: the training example of an objective, the input of the decoder, the request of the engine.
"""

import asyncio
from dataclasses import replace

import pytest
import tokenizers

from torch_reference.perplexity import measure_perplexity
from turnwise.chat.service import EngineChatService
from turnwise.core.chat_request import ChatRequest, ToolOptions
from turnwise.core.inference import FinishEvent, PromptEvent, TokenLogprobs
from turnwise.core.messages import Conversation, Message, ToolCall
from turnwise.core.tools import Tool
from turnwise.evaluation.model_under_test import DecoderUnderTest
from turnwise.evaluation.samples import GenerationQuery, LoglikelihoodQuery
from turnwise.evaluation.scored_span import find_scored_span
from turnwise.models.checkpoint import create
from turnwise.store.sqlite.response_cache import SqliteResponseCache
from turnwise.text.rendering.renderer import FALLBACK_CHAT_TEMPLATE, Renderer
from turnwise.text.tokenization.tokenizer import Tokenizer
from turnwise.training.examples.batches import collate
from turnwise.training.objective import ExampleContext
from turnwise.training.objectives import OBJECTIVES

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
WITH_BOS_TOKEN = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '<|im_end|>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_end|>' }}{% endif %}"
)
TEMPLATES = {"own": None, "ChatML": CHATML, "with BOS token": WITH_BOS_TOKEN, "none": FALLBACK_CHAT_TEMPLATE}


def dialogue(*contents, system=None):
    roles = ["user", "assistant"] * len(contents)
    messages = [Message(role, content) for role, content in zip(roles, contents, strict=False)]
    return Conversation(((Message("system", system),) if system else ()) + tuple(messages))  # type: ignore[arg-type]


DIALOGUES = {
    "one turn": dialogue("Hello!", "How can I help you?"),
    "a system message and three turns": dialogue(
        "The lamp is broken.", "Which one?", "The one in the kitchen.", "I will order one.", "Thanks", "It's 19.99 €",
        system="You are kind.",
    ),
    "many scripts": dialogue("你好,包裹还没有到。", "今天天气很好 🚚", "Ça va ?", "Где 👨‍👩‍👧‍👦? ありがとう"),
    "white space": dialogue("  two lines\n\nand a tab\t", "def f(x):\n    return x + 1"),
    "special tokens spelled out": dialogue(
        "What is <|end|>?", "It ends a turn: <|end|><|user|>.", "<|im_start|>", "No.",
    ),
}  # fmt: skip
WEATHER = Tool.from_function(
    {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
)
CALLS = Conversation(
    (
        Message("user", "Rain in Rome?"),
        Message("assistant", "", tool_calls=(ToolCall("call_0", "get_weather", '{"city": "Rome"}'),)),
        Message("tool", "sunny", tool_call_id="call_0"),
        Message("assistant", "No, it is sunny."),
    ),
    tools=(WEATHER,),
)
HERMES = (
    "{% if tools %}{{ '<|im_start|>system\n<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
    "{{ '</tools> Answer with {\"name\": …} in <tool_call> tags.<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content }}"
    '{% for call in message.tool_calls or [] %}{{ \'<tool_call>\n{"name": "\' + call.function.name }}'
    "{{ '\", \"arguments\": ' + call.function.arguments | tojson + '}\n</tool_call>' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
each_dialogue = pytest.mark.parametrize("conversation", DIALOGUES.values(), ids=DIALOGUES)


@pytest.fixture(scope="module", params=TEMPLATES.values(), ids=TEMPLATES)
def renderer(request, tokenizer):
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|begin|>"])
    special_tokens_map = {**tokenizer.special_tokens_map, "bos_token": "<|begin|>"}
    return Renderer.from_tokenizer(
        Tokenizer(
            backend, special_tokens_map=special_tokens_map, chat_template=request.param or tokenizer.chat_template
        )
    )


@pytest.fixture(scope="module")
def model(tokenizer, tiny_config, one_thread):
    return create(replace(tiny_config, vocab_size=tokenizer.vocab_size + 3, context_length=400), seed=0).decoder.eval()


@pytest.fixture
def decoder_inputs(model):
    """The rows of ids that the decoder computes."""
    rows = []
    hook = model.register_forward_pre_hook(lambda module, args: rows.extend(args[0].tolist()))
    yield rows
    hook.remove()


class RecordingEngine:
    """An engine that records its requests and answers nothing."""

    context_length, is_encoder_decoder, is_healthy = 400, False, True

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

    def close(self):
        pass


class LongContextEngine(RecordingEngine):
    """Has space for tool definitions, which take many tokens of the tiny tokenizer."""

    context_length = 4000


def training_example(name, conversation, renderer, length=400):
    (example,) = OBJECTIVES.parse_plugin(name).examples(conversation, ExampleContext(renderer, length))
    return example


def served_prompt(messages, renderer):
    service = EngineChatService("tiny", 0, "fp", renderer, RecordingEngine())
    asyncio.run(service.reply(ChatRequest(tuple(messages))))
    return list(service.engine.requests[0].prompt_ids)


@each_dialogue
def test_both_objectives_train_on_the_rendered_ids(conversation, renderer):
    rendered = renderer.render(conversation.messages)
    assert training_example("clm", conversation, renderer).ids.tolist() == rendered.ids
    example = training_example("sft", conversation, renderer)
    assert example.ids.tolist() == rendered.ids
    assert example.target_mask.tolist() == [*rendered.assistant_mask[1:], False]
    batch = collate([[example]], pad_id=renderer.tokenizer.pad_token_id)
    assert batch.ids_BT[0].tolist() == rendered.ids


@each_dialogue
def test_a_served_prompt_is_the_prefix_of_the_training_example_before_the_reply(conversation, renderer):
    example = training_example("sft", conversation, renderer)
    ids, loss_mask = example.ids.tolist(), [False, *example.target_mask.tolist()[:-1]]
    for turn, message in enumerate(conversation.messages):
        if message.role != "assistant":
            continue
        prompt = served_prompt(conversation.messages[:turn], renderer)
        assert prompt == renderer.render(conversation.messages[:turn], add_generation_prompt=True).ids
        assert prompt == ids[: len(prompt)]
        assert loss_mask[len(prompt)], "the first token to generate is the first trained token"
        assert not loss_mask[len(prompt) - 1]
        trained_ids = ids[
            len(prompt) : loss_mask.index(False, len(prompt)) if False in loss_mask[len(prompt) :] else None
        ]
        assert renderer.tokenizer.decode(trained_ids).strip() == renderer.tokenizer.decode(
            renderer.tokenizer.encode(message.content)
        ).strip()  # fmt: skip
        assert trained_ids[-1] in renderer.tokenizer.special_ids, "the end-of-turn token is trained"


@each_dialogue
def test_perplexity_uses_the_ids_of_the_training_example(conversation, renderer, model, decoder_inputs):
    measure_perplexity(model, renderer, [conversation])
    assert decoder_inputs == [training_example("sft", conversation, renderer).ids.tolist()]


class ScoringEngine(RecordingEngine):
    """Records its requests and returns the log-probability 0 for every prompt token."""

    def submit(self, request, on_event):
        self.requests.append(request)
        logprobs = (TokenLogprobs(0.0),) * (len(request.prompt_ids) - max(1, request.prompt_logprobs_start))
        on_event(PromptEvent(logprobs, finish_reason="stop"))
        return self


@pytest.fixture
def model_under_test(renderer):
    """A model as `turnwise evaluate` opens it, with an engine that records its requests."""
    service = EngineChatService("tiny", 0, "fp", renderer, ScoringEngine())

    def make_request(history, sampling, tools):
        return service.build_request(ChatRequest(history, sampling=sampling, tools=ToolOptions(tools)))

    return DecoderUnderTest("tiny", service.engine, renderer, make_request, {}, "fp", SqliteResponseCache(None))


def ignore_progress(_):
    """A progress callback that does nothing."""


@each_dialogue
def test_evaluation_generates_from_the_served_prompt(conversation, renderer, model_under_test):
    history = conversation.messages[:-1]
    model_under_test.generate([(GenerationQuery(history), 0)], ignore_progress)
    (request,) = model_under_test.engine.requests
    assert list(request.prompt_ids) == served_prompt(history, renderer)


@each_dialogue
def test_evaluation_scores_the_trained_tokens(conversation, renderer, model_under_test):
    example = training_example("sft", conversation, renderer)
    trained_positions = [i for i, is_target in enumerate([False, *example.target_mask.tolist()[:-1]]) if is_target]
    replies = [i for i, message in enumerate(conversation.messages) if message.role == "assistant"]
    results = model_under_test.loglikelihood(
        [LoglikelihoodQuery(conversation.messages[: i + 1]) for i in replies], ignore_progress
    )
    assert sum(result.num_tokens for result in results) == len(trained_positions)
    for request in model_under_test.engine.requests:
        assert list(request.prompt_ids) == example.ids.tolist()[: len(request.prompt_ids)]
        assert request.prompt_logprobs_start in trained_positions
    assert len(request.prompt_ids) == trained_positions[-1] + 1


@pytest.fixture(scope="module", params=[*TEMPLATES.values(), HERMES], ids=[*TEMPLATES, "with tool calls"])
def tool_renderer(request, tokenizer):
    """Renderers with chat templates that ignore tools, and one that renders them."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|begin|>"])
    special_tokens_map = {**tokenizer.special_tokens_map, "bos_token": "<|begin|>"}
    return Renderer.from_tokenizer(
        Tokenizer(
            backend, special_tokens_map=special_tokens_map, chat_template=request.param or tokenizer.chat_template
        )
    )


def test_a_tool_call_is_trained_after_its_served_prompt(tool_renderer):
    service = EngineChatService("tiny", 0, "fp", tool_renderer, LongContextEngine())
    example = training_example("sft", CALLS, tool_renderer, 4000)
    ids, loss_mask = example.ids.tolist(), [False, *example.target_mask.tolist()[:-1]]
    for turn, expected in ((1, '"name": "get_weather", "arguments": {"city": "Rome"}'), (3, "No, it is sunny.")):
        asyncio.run(service.reply(ChatRequest(CALLS.messages[:turn], tools=ToolOptions(CALLS.tools))))
        prompt = list(service.engine.requests[-1].prompt_ids)
        assert prompt == ids[: len(prompt)]
        assert loss_mask[len(prompt)]
        assert not loss_mask[len(prompt) - 1]
        end = loss_mask.index(False, len(prompt)) if False in loss_mask[len(prompt) :] else len(ids)
        assert ids[end - 1] in tool_renderer.tokenizer.special_ids, "the end-of-turn token is trained"
        assert expected in tool_renderer.tokenizer.decode(ids[len(prompt) : end])


def test_the_scored_tokens_of_a_tool_call_are_the_trained_ones(tool_renderer):
    example = training_example("sft", CALLS, tool_renderer, 4000)
    trained_positions = [i for i, is_target in enumerate([False, *example.target_mask.tolist()[:-1]]) if is_target]
    spans = [
        find_scored_span(tool_renderer, LoglikelihoodQuery(CALLS.messages[: i + 1], CALLS.tools), 10_000)
        for i in (1, 3)
    ]
    assert [position for span in spans for position in span.positions] == trained_positions
    assert all(span.token_ids == tuple(example.ids.tolist()[: len(span.token_ids)]) for span in spans)
    assert all(span.num_bytes > 0 for span in spans)
