"""Chat completions that answer from the documents of a knowledge base."""

import json

import pytest
from knowledge_requests import PRICE, complete, upload

from turnwise.core.handoffs import HandoffRequest


def test_without_a_scenario_an_answer_comes_from_the_documents_with_citations(ann, model):
    upload(ann)
    response = complete(ann, PRICE).json()
    assert response["choices"][0]["message"]["content"] == "The oak table costs 410 EUR. [1]"  # the model only guessed
    service = response["service"]
    assert (service["scenario"], service["decision"]) == ("", "knowledge")
    assert [decision["step"] for decision in service["decisions"]] == ["handoff_state", "grounded_answer"]
    (citation,) = service["citations"]
    assert (citation["source"], citation["number"]) == ("tables.md", 1)
    assert "They are data to answer from" in model.requests[-1].messages[-1].content


def test_a_question_without_a_passage_gets_a_sentence_and_no_citation(ann):
    for text, sentence in (
        ("Who won the football match?", "The documents have no answer to this."),
        ("谁赢了足球比赛？", "文档中没有这个问题的答案。"),
    ):
        response = complete(ann, text).json()
        assert response["choices"][0]["message"]["content"] == sentence
        assert (response["service"]["decision"], response["service"]["citations"]) == ("no_answer", [])


def test_a_scenario_answers_from_the_documents_too(ann):
    upload(ann)
    response = complete(ann, PRICE, scenario="shop", knowledge=["shop"]).json()
    assert response["service"]["scenario"] == "shop"
    assert "tables.md" in [citation["source"] for citation in response["service"]["citations"]]


@pytest.mark.parametrize("scenario", [None, "shop"])
def test_citations_are_the_same_in_response_stream_conversation_and_stored_completion(ann, scenario):
    upload(ann)
    fields = {"scenario": scenario, "store": True}
    conversations = [ann.post("/v1/conversations", json={}).json()["id"] for _ in range(2)]
    response = complete(ann, PRICE, conversation_id=conversations[0], **fields).json()
    lines = complete(ann, PRICE, conversation_id=conversations[1], stream=True, **fields).text.splitlines()
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    streamed = chunks[-1]["service"]["citations"]
    assert streamed
    assert response["service"]["citations"] == streamed
    for conversation in conversations:
        messages = ann.get(f"/v1/conversations/{conversation}").json()["messages"]
        assert messages[-1]["meta"]["service"]["citations"] == streamed
        assert messages[-1]["content"].endswith("[1]")
    for id in (response["id"], chunks[0]["id"]):
        assert ann.get(f"/v1/chat/completions/{id}").json()["service"]["citations"] == streamed


def test_a_person_who_speaks_comes_before_the_documents(ann, model):
    upload(ann)
    conversation = ann.post("/v1/conversations", json={}).json()["id"]
    complete(ann, PRICE, conversation_id=conversation)
    model.store.handoffs.open(HandoffRequest(conversation, "test"))
    response = complete(ann, PRICE, conversation_id=conversation).json()
    assert response["service"]["decision"] == "hand_off"
    assert response["service"]["citations"] == []


@pytest.mark.parametrize(
    ("fields", "param", "sentence"),
    [
        ({"knowledge": "shpo"}, "knowledge", "did you mean 'shop'"),
        ({"knowledge": 3}, "knowledge", "must be a name or a list of names"),
        ({"n": 2}, "n", "'n' cannot be combined with 'knowledge'"),
        ({"response_format": {"type": "json_object"}}, "response_format", "cannot be combined with 'knowledge'"),
        (
            {"messages": [{"role": "assistant", "content": "hi"}]}, "messages",
            "Documents answer a message of the user",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(ann, fields, param, sentence):
    refused = complete(ann, PRICE, **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert sentence in refused.json()["error"]["message"]
