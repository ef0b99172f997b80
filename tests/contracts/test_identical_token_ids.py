"""Train = evaluate = serve: a dialogue has one sequence of ids, whoever reads it.

A template that differs between training and serving is the field's most common silent bug. Here each of the three paths
is intercepted at the last moment: what an objective learns from, what reaches the decoder, what the engine is asked.
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
from turnwise.evaluation.response_cache import ResponseCache
from turnwise.evaluation.samples import GenerationQuery, LoglikelihoodQuery
from turnwise.evaluation.scored_span import find_scored_span
from turnwise.models.checkpoint import create
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
WITH_A_BEGINNING = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '<|im_end|>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_end|>' }}{% endif %}"
)
TEMPLATES = {"our own": None, "ChatML": CHATML, "with a beginning": WITH_A_BEGINNING, "none": FALLBACK_CHAT_TEMPLATE}


def talk(*contents, system=None):
    roles = ["user", "assistant"] * len(contents)
    said = [Message(role, content) for role, content in zip(roles, contents, strict=False)]
    return Conversation(((Message("system", system),) if system else ()) + tuple(said))  # type: ignore[arg-type]


DIALOGUES = {
    "one turn": talk("Hello!", "How can I help you?"),
    "a system message and three turns": talk(
        "The lamp is broken.", "Which one?", "The one in the kitchen.", "I will order one.", "Thanks", "It's 19.99 €",
        system="You are kind.",
    ),
    "many scripts": talk("你好,包裹还没有到。", "今天天气很好 🚚", "Ça va ?", "Где 👨‍👩‍👧‍👦? ありがとう"),
    "white space": talk("  two lines\n\nand a tab\t", "def f(x):\n    return x + 1"),
    "special tokens spelled out": talk("What is <|end|>?", "It ends a turn: <|end|><|user|>.", "<|im_start|>", "No."),
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
paths = pytest.mark.parametrize("conversation", DIALOGUES.values(), ids=DIALOGUES)


@pytest.fixture(scope="module", params=TEMPLATES.values(), ids=TEMPLATES)
def renderer(request, tokenizer):
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|begin|>"])
    named = {**tokenizer.special_tokens_map, "bos_token": "<|begin|>"}
    return Renderer.from_tokenizer(
        Tokenizer(backend, special_tokens_map=named, chat_template=request.param or tokenizer.chat_template)
    )


@pytest.fixture(scope="module")
def model(tokenizer, tiny_config, one_thread):
    return create(replace(tiny_config, vocab_size=tokenizer.vocab_size + 3, context_length=400), seed=0).decoder.eval()


@pytest.fixture
def reached(model):
    """The rows that reach the decoder."""
    rows = []
    hook = model.register_forward_pre_hook(lambda module, args: rows.extend(args[0].tolist()))
    yield rows
    hook.remove()


class Asked:
    """A generator that only notes what it was asked for."""

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


class Roomy(Asked):
    """Definitions of tools take many of the tiny tokenizer's tokens."""

    context_length = 4000


def trained(name, conversation, renderer, length=400):
    (example,) = OBJECTIVES.parse_plugin(name).examples(conversation, ExampleContext(renderer, length))
    return example


def served(messages, renderer):
    service = EngineChatService("tiny", 0, "fp", renderer, Asked())
    asyncio.run(service.reply(ChatRequest(tuple(messages))))
    return list(service.engine.requests[0].prompt_ids)


@paths
def test_both_objectives_learn_from_what_the_renderer_says(conversation, renderer):
    rendered = renderer.render(conversation.messages)
    assert trained("clm", conversation, renderer).ids.tolist() == rendered.ids
    example = trained("sft", conversation, renderer)
    assert example.ids.tolist() == rendered.ids
    assert example.target_mask.tolist() == [*rendered.loss_mask[1:], False]
    batch = collate([[example]], pad_id=renderer.tokenizer.pad_token_id)
    assert batch.ids_BT[0].tolist() == rendered.ids


@paths
def test_every_prompt_served_is_where_training_stood_before_that_reply(conversation, renderer):
    example = trained("sft", conversation, renderer)
    ids, counts = example.ids.tolist(), [False, *example.target_mask.tolist()[:-1]]
    for turn, message in enumerate(conversation.messages):
        if message.role != "assistant":
            continue
        prompt = served(conversation.messages[:turn], renderer)
        assert prompt == renderer.render(conversation.messages[:turn], add_generation_prompt=True).ids
        assert prompt == ids[: len(prompt)]
        assert counts[len(prompt)], "the first token to generate is the first that was learned"
        assert not counts[len(prompt) - 1]
        learned = ids[len(prompt) : counts.index(False, len(prompt)) if False in counts[len(prompt) :] else None]
        assert renderer.tokenizer.decode(learned).strip() == renderer.tokenizer.decode(
            renderer.tokenizer.encode(message.content)
        ).strip()  # fmt: skip
        assert learned[-1] in renderer.tokenizer.special_ids, "ending the turn is learned, too"


@paths
def test_perplexity_reads_what_was_trained_on(conversation, renderer, model, reached):
    measure_perplexity(model, renderer, [conversation])
    assert reached == [trained("sft", conversation, renderer).ids.tolist()]


class Told(Asked):
    """Likewise, and nothing is surprising."""

    def submit(self, request, on_event):
        self.requests.append(request)
        told = (TokenLogprobs(0.0),) * (len(request.prompt_ids) - max(1, request.prompt_logprobs_start))
        on_event(PromptEvent(told, finish_reason="stop"))
        return self


@pytest.fixture
def evaluated(renderer):
    """A model as `turnwise evaluate` opens it, whose engine only notes what it was asked for."""
    service = EngineChatService("tiny", 0, "fp", renderer, Told())

    def make_request(history, sampling, tools):
        return service.build_request(ChatRequest(history, sampling=sampling, tools=ToolOptions(tools)))

    return DecoderUnderTest("tiny", service.engine, renderer, make_request, {}, "fp", ResponseCache(None))


def quiet(_):
    """Nobody looks at the progress."""


@paths
def test_evaluation_asks_what_is_served(conversation, renderer, evaluated):
    history = conversation.messages[:-1]
    evaluated.generate([(GenerationQuery(history), 0)], quiet)
    (request,) = evaluated.engine.requests
    assert list(request.prompt_ids) == served(history, renderer)


@paths
def test_evaluation_scores_what_was_trained_on(conversation, renderer, evaluated):
    example = trained("sft", conversation, renderer)
    learned = [at for at, counts in enumerate([False, *example.target_mask.tolist()[:-1]]) if counts]
    replies = [at for at, message in enumerate(conversation.messages) if message.role == "assistant"]
    found = evaluated.loglikelihood([LoglikelihoodQuery(conversation.messages[: at + 1]) for at in replies], quiet)
    assert sum(one.num_tokens for one in found) == len(learned)
    for request in evaluated.engine.requests:
        assert list(request.prompt_ids) == example.ids.tolist()[: len(request.prompt_ids)]
        assert request.prompt_logprobs_start in learned
    assert len(request.prompt_ids) == learned[-1] + 1


@pytest.fixture(scope="module", params=[*TEMPLATES.values(), HERMES], ids=[*TEMPLATES, "that writes calls"])
def calling(request, tokenizer):
    """Templates that know no tools, and one that does."""
    backend = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|begin|>"])
    named = {**tokenizer.special_tokens_map, "bos_token": "<|begin|>"}
    return Renderer.from_tokenizer(
        Tokenizer(backend, special_tokens_map=named, chat_template=request.param or tokenizer.chat_template)
    )


def test_a_tool_call_is_learned_after_the_prompt_that_is_served_before_it(calling):
    service = EngineChatService("tiny", 0, "fp", calling, Roomy())
    example = trained("sft", CALLS, calling, 4000)
    ids, learned = example.ids.tolist(), [False, *example.target_mask.tolist()[:-1]]
    for turn, expected in ((1, '"name": "get_weather", "arguments": {"city": "Rome"}'), (3, "No, it is sunny.")):
        asyncio.run(service.reply(ChatRequest(CALLS.messages[:turn], tools=ToolOptions(CALLS.tools))))
        prompt = list(service.engine.requests[-1].prompt_ids)
        assert prompt == ids[: len(prompt)]
        assert learned[len(prompt)]
        assert not learned[len(prompt) - 1]
        end = learned.index(False, len(prompt)) if False in learned[len(prompt) :] else len(ids)
        assert ids[end - 1] in calling.tokenizer.special_ids, "ending the turn is learned, too"
        assert expected in calling.tokenizer.decode(ids[len(prompt) : end])


def test_a_tool_call_is_scored_as_it_is_learned(calling):
    example = trained("sft", CALLS, calling, 4000)
    learned = [at for at, counts in enumerate([False, *example.target_mask.tolist()[:-1]]) if counts]
    read = [
        find_scored_span(calling, LoglikelihoodQuery(CALLS.messages[: at + 1], CALLS.tools), 10_000) for at in (1, 3)
    ]
    assert [place for each in read for place in each.positions] == learned
    assert all(each.token_ids == tuple(example.ids.tolist()[: len(each.token_ids)]) for each in read)
    assert all(each.num_bytes > 0 for each in read)
