"""Playing a dialogue: what is asked for is given once, wrong replies and hand-offs end it, and a run can be resumed."""

import asyncio
import json
import re

import pytest

from service_path import spread
from service_path_parts.dialogues import Dialogue, ExpectedTurn
from service_path_parts.judge import Reply, ShopTexts
from service_path_parts.playing import Journal, PlayedDialogue, play
from service_path_parts.table import print_tables

SHOP = ShopTexts.of([])
QUESTION = Reply("May I have your order number?", "clarify")
RIGHT, WRONG, PERSON = Reply("On its way.", "template:x"), Reply("Lost at sea.", "knowledge"), Reply("Hi.", "hand_off")


class ScriptedSystem:
    """A system whose dialogues get the same replies in order; `received` lists the customer's messages."""

    name = "scripted"

    def __init__(self, *replies):
        self.replies, self.received = replies, []

    def start(self):
        remaining = list(self.replies)

        class ScriptedConversation:
            async def answer(_, messages):
                self.received.append(messages[-1].content)
                return remaining.pop(0)

        return ScriptedConversation()


def turn(text="Where is it?", **asks):
    return ExpectedTurn(text, ((re.compile("on its way", re.I),),), (re.compile("lost", re.I),), ("answer",), asks)


def dialogue(*turns, id="example"):
    return Dialogue(id, "en", "answerable", "near", False, turns)


def played(system, *turns):
    return asyncio.run(play(dialogue(*turns), system.name, system.start(), SHOP))


def test_what_is_asked_for_is_given_and_the_reply_to_it_counts():
    system = ScriptedSystem(QUESTION, RIGHT)
    result = played(system, turn(order_number="FH-123456"))
    assert system.received == ["Where is it?", "FH-123456"]
    assert result.verdict == "resolved"


def test_what_was_given_is_not_given_again():
    system = ScriptedSystem(QUESTION, QUESTION, RIGHT)
    result = played(system, turn(order_number="FH-123456"), turn("And now?"))
    assert system.received == ["Where is it?", "FH-123456", "And now?"]
    assert result.verdict == "unresolved"


def test_a_dialogue_is_resolved_if_all_its_turns_are():
    assert played(ScriptedSystem(RIGHT, RIGHT), turn(), turn()).verdict == "resolved"
    assert played(ScriptedSystem(RIGHT, Reply("Tents.")), turn(), turn()).verdict == "unresolved"


@pytest.mark.parametrize(("reply", "verdict"), [(WRONG, "wrong"), (PERSON, "unresolved")])
def test_nothing_follows_a_wrong_reply_or_a_hand_off(reply, verdict):
    system = ScriptedSystem(reply, RIGHT)
    result = played(system, turn(), turn())
    assert len(system.received) == 1
    assert result.verdict == verdict
    assert result.is_handed_off == (reply is PERSON)


def test_a_run_is_resumed_without_the_system_and_judged_again(tmp_path):
    system = ScriptedSystem(QUESTION, RIGHT)
    path = tmp_path / "results" / "scripted.jsonl"
    example = dialogue(turn(order_number="FH-123456"))
    first = asyncio.run(Journal(path, "key").play(example, system, SHOP))
    assert asyncio.run(Journal(path, "key").play(example, ScriptedSystem(), SHOP)) == first
    (entry,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert [line["decision"] for line in entry["turns"]] == ["clarify", "template:x"]
    assert [line["verdict"] for line in entry["turns"]] == ["asked", "resolved"]


def test_dialogues_with_another_key_or_changed_messages_are_played_again(tmp_path):
    path, system = tmp_path / "scripted.jsonl", ScriptedSystem(RIGHT)
    asyncio.run(Journal(path, "key").play(dialogue(turn()), system, SHOP))
    asyncio.run(Journal(path, "new key").play(dialogue(turn()), system, SHOP))
    asyncio.run(Journal(path, "new key").play(dialogue(turn("Changed?")), system, SHOP))
    assert system.received == ["Where is it?", "Where is it?", "Changed?"]


def test_a_line_that_was_cut_off_is_ignored(tmp_path):
    path, system = tmp_path / "scripted.jsonl", ScriptedSystem(RIGHT)
    path.write_text('{"id": "example", "ke', encoding="utf-8")
    asyncio.run(Journal(path, "key").play(dialogue(turn()), system, SHOP))
    assert system.received == ["Where is it?"]


def test_a_rewritten_file_keeps_the_dialogues_that_a_limited_run_left_out(tmp_path):
    path, system = tmp_path / "scripted.jsonl", ScriptedSystem(RIGHT)
    asyncio.run(Journal(path, "key").play(dialogue(turn(), id="left_out"), system, SHOP))
    journal = Journal(path, "key")
    journal.rewrite([asyncio.run(journal.play(dialogue(turn()), system, SHOP))])
    ids = [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert ids == ["left_out", "example"]


def test_a_limit_takes_dialogues_of_all_kinds():
    dialogues = [dialogue(turn(), id=str(number)) for number in range(10)]
    assert [entry.id for entry in spread(dialogues, 5)] == ["0", "2", "4", "6", "8"]
    assert spread(dialogues, 100) == dialogues


def test_the_tables_have_shares_and_the_differences_of_the_path(capsys):
    good, bad = (
        [played(ScriptedSystem(reply), turn()) for reply in replies]
        for replies in ([RIGHT, RIGHT, RIGHT, PERSON, RIGHT, RIGHT], [WRONG, RIGHT, WRONG, WRONG, PERSON, RIGHT])
    )
    assert all(isinstance(entry, PlayedDialogue) for entry in good)
    print_tables({"templates": bad, "path": good})
    output = capsys.readouterr().out
    assert "| path | 6 | 83% [44%, 97%] | 0% [0%, 39%] | 17% [3%, 56%] | 17% [3%, 56%] |" in output
    assert "path − templates, resolved: +50.0% [" in output
    assert "path − templates, wrong: -50.0% [" in output
