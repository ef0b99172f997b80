"""The parts of the data of the adversarial experiment, and the reply gates."""

import random

import pytest
from booking_dialogues import CITIES, COUNTS, WORDS, booking, dialogue

from turnwise.core.errors import InvalidData
from turnwise.core.messages import Conversation, Message
from turnwise.data.jsonl_writer import write_jsonl
from turnwise.data.sources import read_source
from turnwise.evaluation.samples import GenerationOutput, SampleResult


class TestParts:
    @pytest.fixture
    def dialogues(self):
        """Fifty dialogues; ten of them open as an earlier one does, but for case and punctuation."""
        return [booking(index) for index in range(40)] + [
            dialogue(f"i need a {WORDS[index // 10 % 10]} in {CITIES[index % 10]} number {index}!", "Hello again")
            for index in range(10)
        ]

    def test_no_opening_is_in_two_parts(self, scripts, dialogues):
        prepare = scripts["prepare"]
        parts = prepare.split_dialogues(dialogues, COUNTS)
        openings = {name: {prepare.opening(item) for item in items} for name, items in parts.items()}
        assert sum(map(len, openings.values())) == len(set().union(*openings.values())) == 40
        assert {name: len(items) for name, items in parts.items() if name in COUNTS} == COUNTS

    def test_the_order_of_the_rows_does_not_matter(self, scripts, dialogues):
        shuffled = random.Random(1).sample(dialogues, len(dialogues))
        assert scripts["prepare"].split_dialogues(shuffled, COUNTS) == scripts["prepare"].split_dialogues(
            dialogues, COUNTS
        )

    def test_a_context_is_the_beginning_of_a_dialogue_and_ends_with_a_reply(self, scripts):
        long = dialogue(*(f"text {index}" for index in range(12)), services=["Hotels_1"], id="7")
        start = scripts["prepare"].beginning(long)
        assert start.messages == long.messages[:6]
        assert start.meta == {"intent": "Hotels_1", "id": "7"}
        cut = scripts["prepare"].cut_at_reply(start)
        assert cut.messages == long.messages[: len(cut.messages)]
        assert cut.messages[-1].role == "assistant"

    def test_replies_at_every_depth_are_drawn(self, scripts):
        assert {len(scripts["prepare"].cut_at_reply(booking(index)).messages) for index in range(30)} == {2, 4, 6}

    def test_a_dialogue_without_a_reply_is_left_out(self, scripts, tmp_path):
        write_jsonl(tmp_path / "talks.jsonl", [dialogue("hello"), booking(1)])
        assert [item.messages for item in scripts["prepare"].read_dialogues(tmp_path)] == [booking(1).messages]

    def test_equal_data_gives_equal_files(self, scripts, dialogues, tmp_path):
        write_jsonl(tmp_path / "talks.jsonl", dialogues)
        for name in ("first", "second"):
            scripts["prepare"].main(tmp_path / "talks.jsonl", tmp_path / name, COUNTS)
        first, second = (
            {path.name: path.read_text() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
        )
        assert first == second
        assert {name.removesuffix(".jsonl") for name in first} == {
            *COUNTS,
            "generator_train",
            "generator_contexts",
        }
        train = list(read_source(tmp_path / "first" / "generator_train.jsonl"))
        contexts = list(read_source(tmp_path / "first" / "generator_contexts.jsonl"))
        for complete, cut in zip(train, contexts, strict=True):
            assert cut.messages == complete.messages[: len(cut.messages)]

    def test_too_few_dialogues_are_an_error(self, scripts, dialogues):
        with pytest.raises(InvalidData, match="40 different openings; the parts need more than 600"):
            scripts["prepare"].split_dialogues(dialogues, {"test": 600})


class TestGates:
    @pytest.mark.parametrize(
        ("output", "is_passed"),
        [
            (GenerationOutput("Your table for 4 is booked at 7:30 pm."), 1.0),
            (GenerationOutput("Your table for 4 is booked at 8:30 pm."), 0.0),
            (GenerationOutput("Your table for 4 is booked at 7:30 pm.", finish_reason="length"), 0.0),
        ],
    )
    def test_the_metric_has_the_outcome_of_the_gates_of_training(self, scripts, output, is_passed):
        messages = (
            Message("user", "A table for 4 at 7:30 pm"),
            Message("assistant", "I will book a table for 4 at 7:30 pm."),
        )
        metric = scripts["reply_gates"].GateMetric()
        samples = metric.samples([Conversation(messages)], seed=0)
        ((passed, count, *gates),) = metric.statistics(samples, [SampleResult((output,))]).tolist()
        assert (passed, count, len(gates)) == (is_passed, 1.0, 4)
        assert passed == min(gates)
