"""Response selection: candidates of the samples, and the score."""

import pytest

from turnwise.core.messages import Conversation, Message
from turnwise.evaluation.metrics import load_metrics
from turnwise.evaluation.metrics.selection import selection_samples
from turnwise.evaluation.samples import Loglikelihood, SampleResult

(SELECTION,) = load_metrics(["selection"])


def candidates(sample):
    """The replies to choose from, the true one first."""
    return [query.messages[-1].content for query in sample.loglikelihood_queries]


class TestSamples:
    def test_the_true_reply_is_the_first_of_twenty_different_candidates(self, intent_dialogues):
        samples = SELECTION.samples(intent_dialogues, 0)
        assert len(samples) == len(intent_dialogues)
        for dialogue, sample in zip(intent_dialogues, samples, strict=True):
            assert all(query.messages[:-1] == dialogue.messages[:-1] for query in sample.loglikelihood_queries)
            assert candidates(sample)[0] == dialogue.messages[-1].content
            assert len(set(candidates(sample))) == len(candidates(sample)) == 20

    def test_half_of_the_distractors_have_the_same_intent(self, intent_dialogues):
        for dialogue, sample in zip(intent_dialogues, SELECTION.samples(intent_dialogues, 0), strict=True):
            has_same_intent = [reply.startswith(dialogue.meta["intent"]) for reply in candidates(sample)[1:]]
            assert all(has_same_intent[:9])
            assert not all(has_same_intent[9:])

    def test_the_seed_determines_the_samples(self, intent_dialogues):
        assert SELECTION.samples(intent_dialogues, 4) == SELECTION.samples(intent_dialogues, 4)
        assert SELECTION.samples(intent_dialogues, 4) != SELECTION.samples(intent_dialogues, 5)

    def test_a_reply_that_many_dialogues_share_is_a_candidate_at_most_once(self, intent_dialogues):
        thanks = Conversation((Message("user", "bye"), Message("assistant", "Thank you!")), {"intent": "order"})
        for sample in SELECTION.samples([*intent_dialogues, *[thanks] * 40], 0):
            assert len(set(candidates(sample))) == 20

    def test_another_true_reply_to_the_same_question_is_not_a_distractor(self, intent_dialogues):
        hellos = [Conversation((Message("user", "hi"), Message("assistant", f"Hello {n}"))) for n in range(4)]
        for sample in SELECTION.samples([*hellos, *intent_dialogues], 0)[:4]:
            assert sum(reply.startswith("Hello") for reply in candidates(sample)) == 1

    def test_at_most_120_random_dialogues_are_used(self, intent_dialogues):
        samples = SELECTION.samples(intent_dialogues * 5, 0)
        assert len(samples) == 120
        intents = {sample.reference.split()[0] for sample in samples}
        assert len(intents) == 3  # the dialogues are sorted by intent, so the first 120 would have fewer
        assert samples == SELECTION.samples(intent_dialogues * 5, 0) != SELECTION.samples(intent_dialogues * 5, 1)

    @pytest.mark.parametrize("meta", [{}, {"intent": None}, {"intent": ""}])
    def test_without_intents_all_distractors_are_random(self, intent_dialogues, meta):
        dialogues = [Conversation(dialogue.messages, meta) for dialogue in intent_dialogues]
        distractors = [reply for sample in SELECTION.samples(dialogues, 0) for reply in candidates(sample)[1:]]
        for intent in ("order", "lamp", "park"):
            assert 0.25 < sum(reply.startswith(intent) for reply in distractors) / len(distractors) < 0.42

    def test_a_rare_intent_gets_distractors_of_other_intents(self, intent_dialogues):
        rare = Conversation((Message("user", "tea?"), Message("assistant", "Gladly.")), {"intent": "tea"})
        (sample,) = [
            sample for sample in SELECTION.samples([*intent_dialogues, rare], 0) if sample.reference == "Gladly."
        ]
        assert len(set(candidates(sample))) == 20

    def test_only_the_last_reply_of_a_dialogue_is_used(self, intent_dialogues):
        dialogue = Conversation(
            (
                *intent_dialogues[0].messages,
                Message("user", "Thanks"),
                Message("assistant", "Bye"),
                Message("user", "!"),
            )
        )
        (sample,) = [
            sample for sample in SELECTION.samples([*intent_dialogues, dialogue], 0) if sample.reference == "Bye"
        ]
        assert sample.loglikelihood_queries[0].messages[:-1] == dialogue.messages[:3]

    def test_with_fewer_replies_than_candidates_there_are_no_samples(self, intent_dialogues):
        assert SELECTION.samples(intent_dialogues[:19], 0) == []
        assert len(selection_samples(intent_dialogues[:5], 0, 5)) == 5


@pytest.mark.parametrize(
    ("losses", "is_correct"),
    [([1.0, 2.0, 3.0], 1), ([2.0, 1.0, 3.0], 0), ([1.0, 1.0, 3.0], 0), ([float("nan"), 1.0, 2.0], 0)],
)
def test_ties_and_nan_count_as_wrong(losses, is_correct):
    result = SampleResult(loglikelihoods=tuple(Loglikelihood(10 * loss, 10, 30) for loss in losses))
    assert SELECTION.statistics([None], [result]).tolist() == [[is_correct, 1]]


def test_the_loss_per_token_is_compared():
    result = SampleResult(loglikelihoods=(Loglikelihood(60.0, 60, 200), Loglikelihood(12.0, 6, 20)))
    assert SELECTION.statistics([None], [result]).tolist() == [[1, 1]]
