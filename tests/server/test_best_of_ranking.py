"""`best_of` with the choices ranked by the model's discriminator, through the official client."""

import threading

import openai
import pytest

from discriminator_samples import make_copy
from turnwise.app.chat_services import open_chat_service
from turnwise.app.discriminators import open_discriminator
from turnwise.core.errors import UserError
from turnwise.core.messages import Message
from turnwise.models.checkpoint import create, save
from turnwise.server.app import create_app
from turnwise.testing import serve_in_thread

MESSAGES = [{"role": "user", "content": "Hello, how can I help you today?"}]
SAMPLING = {"temperature": 1.0, "seed": 3, "max_tokens": 12}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_config, tokenizer):
    """A model folder with a discriminator."""
    folder = tmp_path_factory.mktemp("models") / "adversarial"
    model = create(tiny_config, seed=0)
    save(model, folder, hf_config={"eos_token_id": tokenizer.eos_token_id})
    tokenizer.save(folder)
    make_copy(model, tokenizer).save(folder / "discriminator")
    return folder


@pytest.fixture(scope="module")
def service(folder):
    with open_chat_service(str(folder), best_of="discriminator") as service:
        yield service


@pytest.fixture(scope="module")
def client(service):
    with (
        serve_in_thread(create_app({"tiny": service}, default="tiny")) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def by_score(folder):
    """`by_score(prompt_ids, texts)`: the texts, that with the highest score first."""
    discriminator = open_discriminator(folder / "discriminator")

    def rank(prompt_ids, texts):
        encoder = discriminator.tokenizer
        prompt = encoder.encode_prompt(prompt_ids)
        logits_NL = discriminator.classifier.engine.text_logits([encoder.encode(prompt, text) for text in texts])
        scores = logits_NL[:, 0].tolist()
        assert len(set(scores)) == len(scores)
        return [text for _, text in sorted(zip(scores, texts, strict=True), reverse=True)]

    return rank


def chat(client, **fields):
    return client.chat.completions.create(model="tiny", messages=MESSAGES, **SAMPLING, **fields)


def test_the_best_choices_of_a_chat_are_those_with_the_highest_scores(client, service, by_score):
    every = chat(client, n=6)
    texts = [choice.message.content for choice in every.choices]
    best = chat(client, n=2, extra_body={"best_of": 6})
    prompt_ids = service.tokens.encode_messages([Message("user", MESSAGES[0]["content"])], True)
    ranked = by_score(prompt_ids, texts)
    assert [choice.message.content for choice in best.choices] == ranked[:2]
    assert ranked[0] != texts[0]
    assert [choice.index for choice in best.choices] == [0, 1]
    assert best.usage.completion_tokens == every.usage.completion_tokens
    assert best.choices[0].logprobs is None


def test_the_best_choices_of_a_completion_are_those_with_the_highest_scores(client, service, by_score):
    def complete(**fields):
        return client.completions.create(model="tiny", prompt="The lamp in the kitchen", **SAMPLING, **fields)

    texts = [choice.text for choice in complete(n=6).choices]
    ranked = by_score(service.tokens.encode_text("The lamp in the kitchen"), texts)
    assert [choice.text for choice in complete(n=3, best_of=6).choices] == ranked[:3]


def test_choices_are_scored_in_a_thread_of_their_own(client, service, monkeypatch):
    engine, threads = service.ranker.discriminator.classifier.engine, []
    text_logits = engine.text_logits

    def record(sequences):
        threads.append(threading.current_thread().name)
        return text_logits(sequences)

    monkeypatch.setattr(engine, "text_logits", record)
    chat(client, n=3)
    assert not threads
    chat(client, extra_body={"best_of": 3})
    assert threads
    assert all(name.startswith("turnwise-discriminator") for name in threads)


def test_best_of_cannot_be_streamed(client):
    with pytest.raises(openai.BadRequestError, match="'best_of' cannot be streamed"):
        chat(client, stream=True, extra_body={"best_of": 3})


def test_damaged_weights_of_the_discriminator_fail_the_request_alone(client, service, monkeypatch):
    engine = service.ranker.discriminator.classifier.engine
    monkeypatch.setattr(engine._head.linear.bias, "data", engine._head.linear.bias.data * float("nan"))
    with pytest.raises(openai.InternalServerError):
        chat(client, extra_body={"best_of": 3})
    assert chat(client, n=2).choices[1].message.role == "assistant"


def test_a_model_without_a_discriminator_is_refused_before_it_is_loaded(model_folder):
    with (
        pytest.raises(UserError, match="has no discriminator"),
        open_chat_service(str(model_folder), best_of="discriminator"),
    ):
        pass
