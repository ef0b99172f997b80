"""Response selection: fair questions, and a score that means something."""

import pytest

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.metrics.selection import selection_samples
from turnwise.evaluation.samples import Loglikelihood, SampleResult

(SELECTION,) = load_metrics(["selection"])


def replies(item):
    return [score.messages[-1].content for score in item.loglikelihood_queries]


class TestQuestions:
    def test_the_true_reply_stands_first_among_others_without_duplicates(self, desk):
        asked = SELECTION.samples(desk, 0)
        assert len(asked) == len(desk)
        for conversation, item in zip(desk, asked, strict=True):
            assert all(score.messages[:-1] == conversation.messages[:-1] for score in item.loglikelihood_queries)
            assert replies(item)[0] == conversation.messages[-1].content
            assert len(set(replies(item))) == len(replies(item)) == 20

    def test_half_of_the_distractors_share_the_intent(self, desk):
        for conversation, item in zip(desk, SELECTION.samples(desk, 0), strict=True):
            near = [reply.startswith(conversation.meta["intent"]) for reply in replies(item)[1:]]
            assert all(near[:9])
            assert not all(near[9:])

    def test_a_seed_asks_the_same_questions(self, desk):
        assert SELECTION.samples(desk, 4) == SELECTION.samples(desk, 4)
        assert SELECTION.samples(desk, 4) != SELECTION.samples(desk, 5)

    def test_replies_that_many_dialogues_share_are_drawn_once(self, desk):
        thanks = Conversation((Message("user", "bye"), Message("assistant", "Thank you!")), {"intent": "order"})
        for item in SELECTION.samples([*desk, *[thanks] * 40], 0):
            assert len(set(replies(item))) == 20

    def test_another_true_answer_to_the_same_question_is_no_wrong_one(self, desk):
        hellos = [Conversation((Message("user", "hi"), Message("assistant", f"Hello {n}"))) for n in range(4)]
        for item in SELECTION.samples([*hellos, *desk], 0)[:4]:
            assert sum(reply.startswith("Hello") for reply in replies(item)) == 1

    def test_of_many_dialogues_some_are_asked_about(self, desk):
        many = SELECTION.samples(desk * 5, 0)
        assert len(many) == 120
        asked = {item.reference for item in many}
        assert len({reply.split()[0] for reply in asked}) == 3  # from all of the file, which is sorted by intent
        assert many == SELECTION.samples(desk * 5, 0) != SELECTION.samples(desk * 5, 1)

    @pytest.mark.parametrize("meta", [{}, {"intent": None}, {"intent": ""}])
    def test_without_intents_all_distractors_are_random(self, desk, meta):
        plain = [Conversation(talk.messages, meta) for talk in desk]
        others = [reply for item in SELECTION.samples(plain, 0) for reply in replies(item)[1:]]
        for intent in ("order", "lamp", "park"):
            assert 0.25 < sum(reply.startswith(intent) for reply in others) / len(others) < 0.42

    def test_a_rare_intent_is_filled_up_with_others(self, desk):
        lonely = Conversation((Message("user", "tea?"), Message("assistant", "Gladly.")), {"intent": "tea"})
        (item,) = [each for each in SELECTION.samples([*desk, lonely], 0) if each.reference == "Gladly."]
        assert len(set(replies(item))) == 20

    def test_only_the_last_assistant_turn_is_asked_for(self, desk):
        talk = Conversation(
            (*desk[0].messages, Message("user", "Thanks"), Message("assistant", "Bye"), Message("user", "!"))
        )
        (item,) = [each for each in SELECTION.samples([*desk, talk], 0) if each.reference == "Bye"]
        assert item.loglikelihood_queries[0].messages[:-1] == talk.messages[:3]

    def test_too_few_replies_are_nothing_to_choose_among(self, desk):
        assert SELECTION.samples(desk[:19], 0) == []
        assert len(selection_samples(desk[:5], 0, 5)) == 5


@pytest.mark.parametrize(
    ("losses", "right"),
    [([1.0, 2.0, 3.0], 1), ([2.0, 1.0, 3.0], 0), ([1.0, 1.0, 3.0], 0), ([float("nan"), 1.0, 2.0], 0)],
)
def test_ties_and_numbers_that_are_none_count_as_wrong(losses, right):
    found = SampleResult(loglikelihoods=tuple(Loglikelihood(10 * loss, 10, 30) for loss in losses))
    assert SELECTION.statistics([None], [found]).tolist() == [[right, 1]]


def test_long_replies_are_not_at_a_disadvantage():
    """Means per token are compared."""
    found = SampleResult(loglikelihoods=(Loglikelihood(60.0, 60, 200), Loglikelihood(12.0, 6, 20)))
    assert SELECTION.statistics([None], [found]).tolist() == [[1, 1]]
