"""Uses every plug-in of the extra package and prints what came out, as JSON. Run in a process of its own."""

import asyncio
import json
import sys
from contextlib import closing
from pathlib import Path


def answer(service, **sampling):
    """Token ids of an answer of four tokens."""
    from turnwise.core.chat_request import ChatRequest
    from turnwise.core.inference_client import InferenceClient
    from turnwise.core.messages import Message

    request = service.build_request(ChatRequest((Message("user", "Hello"),), {"max_tokens": 4, "seed": 1, **sampling}))
    return list(InferenceClient(service.engine).start(request).result(60).token_ids)


def demonstrations():
    """The demonstrations that the selection of another package chooses."""
    from turnwise.core.messages import Message
    from turnwise.text.rendering.demonstrations import Demonstrations

    candidates = tuple((Message("user", text), Message("assistant", "Yes.")) for text in ("one", "two", "three"))
    _, messages = Demonstrations(candidates, 2, "first").select([Message("user", "Hello")])
    return [message.content for message in messages if message.role == "user"]


def use_sampling(model_folder):
    """Warper, processor, search, their parameters over HTTP, and a context policy."""
    from fastapi.testclient import TestClient

    from turnwise.app.chat_services import open_chat_service
    from turnwise.core.chat_request import ChatRequest, ContextOptions
    from turnwise.core.messages import Message
    from turnwise.server.app import create_app

    with open_chat_service(model_folder) as service:
        greedy = answer(service, temperature=0, ignore_eos=True)
        outcome = {
            "greedy": greedy,
            "warper": answer(service, temperature=1, only_token=70),
            "processor": answer(service, temperature=0, ignore_eos=True, never_token=greedy[0]),
            "search": answer(service, temperature=0, pick_rank=2),
        }
        client = TestClient(create_app({service.name: service}, default=service.name), base_url="http://localhost")
        messages = [{"role": "user", "content": "Hello"}]
        body = {"model": service.name, "messages": messages, "max_tokens": 3, "only_token": 70}
        outcome["http"] = client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
        outcome["http_error"] = client.post("/v1/chat/completions", json={**body, "only_token": -1}).json()["error"]
        outcome["listed"] = [p["name"] for p in client.get("/v1/parameters").json()["data"] if "token" in p["name"]]
        dialogue = (Message("user", "word " * 9000), Message("assistant", "Yes."), Message("user", "Hello"))
        request = ChatRequest(dialogue, {"max_tokens": 2}, context=ContextOptions(policy="last_only"))
        with open_chat_service(model_folder, format="shouting") as shouting:
            outcome["format"] = shouting.renderer.render_text([Message("user", "Hello")], add_generation_prompt=True)
        outcome["demonstrations"] = demonstrations()
        outcome["policy"] = asyncio.run(service.reply(request)).context.dropped_messages
        return outcome


def use_family(model_folder, work):
    """A checkpoint whose `model_type` is the family of another package."""
    import shutil

    from turnwise.app.chat_services import open_chat_service

    folder = work / "otter"
    shutil.copytree(model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "otter", "architectures": ["OtterForCausalLM"]})
    )
    with open_chat_service(str(folder)) as service:
        return answer(service, temperature=0, ignore_eos=True)


def use_data(work):
    """A container and a data format, a tool-call format and a store backend."""
    from turnwise.data.sources import DataSource
    from turnwise.store import open_key_store, open_store
    from turnwise.text.tool_call_formats import detect_format

    file = work / "talk.dots"
    file.write_text("DOTS. Who are you = An owl. What do you eat = Mice.")
    template = '{% for t in tools %}"name": {{ t }}{% endfor %}{{ messages[0].tool_calls }}->'
    with closing(open_store(f"attic:///{work / 'talks.db'}")) as store:
        store.create(title="Attic", model="m")
        titles = [conversation.title for conversation in store.list()]
    keys = open_key_store(f"attic:///{work / 'keys.db'}")
    keys.create("me")
    return {
        "dialogues": [[message.content for message in item.messages] for item in DataSource(file)],
        "marker": detect_format(template).marker,
        "titles": titles,
        "keys": [key.name for key in keys.list()],
    }


def use_documents(work):
    """A parser of documents, in the process of the parsers."""
    from turnwise.retrieval.parser_process import ParserProcess

    file = work / "notes.txt"
    file.write_text("HOOT\nOwls eat mice.")
    with ParserProcess() as parsers:
        return parsers.parse(file).text


def use_scenarios():
    """A check of scenarios."""
    from turnwise.scenarios.checks import run_checks
    from turnwise.scenarios.loader import load_scenario
    from turnwise.scenarios.scenario_library import builtin_folder

    return [finding.message for finding in run_checks(load_scenario(builtin_folder() / "assistant"))]


def use_erasers(work):
    """What another package keeps of people."""
    from turnwise.app.personal_data import erase_data, export_data
    from turnwise.core.data_subjects import DataSubject
    from turnwise.store import open_store

    with closing(open_store(f"sqlite:///{work / 'people.db'}")) as store:
        subject = DataSubject("shop", "ann")
        return [export_data(subject, store)["diary"], erase_data(subject, store)["pages"]]


def use_detectors():
    """A detector of personal data."""
    from turnwise.privacy.masking import ConversationMasker

    return ConversationMasker().mask_text("an owl with the ring OWL-17").conversation.messages[0].content


def main(model_folder, work):
    """Print the outcome of every plug-in."""
    outcome = {
        "data": use_data(work),
        "document": use_documents(work),
        "scenario": use_scenarios(),
        "eraser": use_erasers(work),
        "privacy": use_detectors(),
        "sampling": use_sampling(model_folder),
        "family": use_family(model_folder, work),
    }
    print(json.dumps(outcome))


main(sys.argv[1], Path(sys.argv[2]))
