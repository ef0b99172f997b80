"""Comparisons of two answers: scores, consent, what the loop learns from them, erasure."""

import itertools

import pytest

from turnwise.core.access import Principal
from turnwise.core.comparisons import Competitor, NewComparison, PairScore
from turnwise.core.data_subjects import DataSubject
from turnwise.core.errors import Forbidden, InvalidParameter, NotFound
from turnwise.core.feedback import AnswerReference
from turnwise.core.messages import Message
from turnwise.core.stored_completions import StoredCompletion
from turnwise.improve.training_examples import training_examples
from turnwise.store import open_store

IDS = itertools.count()


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


def completion(store, model, text="An answer.", *, prompt="Hello", consent="full", version=""):
    """A stored completion; returns the reference of its answer."""
    id = f"chatcmpl-{next(IDS)}"
    response = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    messages = ({"role": "user", "content": prompt},)
    store.completions.add(
        StoredCompletion(id, 1, model, messages, {}, response, {}, consent=consent, version=version)
    )  # fmt: skip
    return AnswerReference("completion", id)


def branches(store, *texts):
    """Answers to one message of a conversation; returns their references."""
    id = store.create(title="", model="m").id
    (parent,) = store.append(id, [Message("user", "Hello")], {"consent": "full"})
    meta = {"model": "m", "finish": "stop", "consent": "full"}
    return [
        AnswerReference("message", store.append(id, [Message("assistant", text)], meta, parent_id=parent)[0])
        for text in texts
    ]


def compare(store, verdict, left, right, **options):
    consent = options.pop("consent", "full")
    return store.comparisons.add(NewComparison(left, right, verdict, **options), consent=consent)


def test_scores_count_each_pair_once_whatever_the_side(store):
    for verdict, models in [("left", "ab"), ("right", "ba"), ("left", "ba"), ("equal", "ab"), ("both_bad", "ba")]:
        left, right = (completion(store, model) for model in models)
        compare(store, verdict, left, right)
    (score,) = store.comparisons.scores()
    assert score == PairScore(Competitor("a"), Competitor("b"), wins=2, losses=1, equal=1, both_bad=1)
    assert score.win_rate == pytest.approx(2 / 3)
    assert score.interval == pytest.approx((0.2077, 0.9385), abs=1e-4)


def test_the_last_comparison_of_two_answers_counts(store):
    left, right = completion(store, "a", "First."), completion(store, "b", "Second.")
    compare(store, "left", left, right, user="ann")
    compare(store, "right", left, right, user="bob")
    last = compare(store, "left", right, left, user="ann")
    (score,) = store.comparisons.scores()
    assert (score.first, score.wins, score.losses) == (Competitor("b"), 2, 0)
    (answer,) = store.collected_answers.answers()
    assert (answer.answer.content, len(answer.preferred)) == ("First.", 2)
    assert [entry.content.user for entry in store.comparisons.list()[0]] == ["bob", "ann"]
    assert store.comparisons.list()[0][1] == last


def test_comparisons_of_other_choices_of_the_same_completion_count_too(store):
    body = {
        "choices": [{"index": index, "message": {"role": "assistant", "content": str(index)}} for index in range(3)]
    }
    store.completions.add(StoredCompletion("chatcmpl-n", 1, "m", (), {}, body, {}, consent="full"))
    first, second, third = (AnswerReference("completion", "chatcmpl-n", index) for index in range(3))
    for left, right in ((first, second), (first, third), (second, first), (branches(store, "x")[0], first)):
        compare(store, "left", left, right)
    assert len(store.comparisons.list()[0]) == 3


def test_the_competitor_with_more_wins_comes_first(store):
    compare(store, "right", completion(store, "a"), completion(store, "b", version="b@2"))
    (score,) = store.comparisons.scores()
    assert (score.first, score.second, score.wins) == (Competitor("b", "b@2"), Competitor("a"), 1)


def test_two_answers_of_one_model_have_no_score(store):
    compare(store, "left", completion(store, "m"), completion(store, "m"))
    assert store.comparisons.scores() == []


def test_labels_tell_settings_of_one_model_apart(store):
    compare(store, "left", completion(store, "m"), completion(store, "m"), left_label="Precise", right_label="Creative")
    (score,) = store.comparisons.scores()
    assert (score.first.label, score.second.label) == ("Precise", "Creative")


def test_the_worse_completion_becomes_a_training_example_with_the_better_one(store):
    bad, good = completion(store, "m", "Bad."), completion(store, "other", "Good.")
    compare(store, "right", bad, good, user="ann")
    (answer,) = store.collected_answers.answers("m")
    assert (answer.id, answer.answer.content) == (str(bad), "Bad.")
    (better,) = answer.preferred
    assert (better.answer.content, better.origin, better.contributor) == ("Good.", "comparison", "local/user:ann")
    (example,) = training_examples([answer])
    assert example.kind == "preference"
    assert [message.content for message in example.dialogue.messages] == ["Hello", "Good."]
    assert [message.content for message in example.dialogue.rejected] == ["Hello", "Bad."]
    assert "local/user:ann" in store.collected_answers.contributors()


def test_the_chosen_branch_of_a_conversation_is_preferred_to_the_other_one(store):
    first, second = branches(store, "First.", "Second.")
    compare(store, "left", first, second)
    (answer,) = store.collected_answers.answers()
    assert (answer.answer.content, answer.preferred[0].answer.content) == ("Second.", "First.")


def test_two_bad_answers_are_bad_ratings_and_equal_ones_say_nothing(store):
    compare(store, "both_bad", *branches(store, "Bad.", "Bad too."))
    compare(store, "equal", *branches(store, "Good.", "Good too."))
    answers = list(store.collected_answers.answers())
    assert [answer.answer.content for answer in answers] == ["Bad.", "Bad too."]
    assert [[rating.value for rating in answer.ratings] for answer in answers] == [[-1], [-1]]


def test_answers_to_different_prompts_count_in_the_scores_only(store):
    compare(store, "left", completion(store, "a"), completion(store, "b", prompt="Hello!"))
    compare(store, "left", completion(store, "a"), branches(store, "Hi.")[0])
    assert sum(score.wins for score in store.comparisons.scores()) == 2
    assert list(store.collected_answers.answers()) == []


def test_the_strictest_consent_holds(store):
    full, metadata, off = (completion(store, "m", consent=consent) for consent in ("full", "metadata", "off"))
    assert compare(store, "left", full, metadata).consent == "metadata"
    assert compare(store, "left", full, completion(store, "n"), consent="metadata").consent == "metadata"
    assert list(store.collected_answers.answers()) == []
    with pytest.raises(Forbidden, match="switched off"):
        compare(store, "left", full, off)
    with pytest.raises(Forbidden, match="without a label"):
        compare(store, "left", full, metadata, left_label="Precise")


def test_invalid_comparisons_are_rejected(store):
    answer = completion(store, "m")
    with pytest.raises(InvalidParameter, match="two different answers"):
        compare(store, "left", answer, answer)
    with pytest.raises(InvalidParameter, match="letters, digits"):
        compare(store, "left", answer, completion(store, "m"), left_label="<b>")
    with pytest.raises(NotFound):
        compare(store, "left", answer, AnswerReference("completion", "chatcmpl-x"))


def test_comparisons_are_listed_in_pages_and_deleted(store):
    ids = [compare(store, "equal", *branches(store, "a", "b")).id for _ in range(3)]
    page, has_more = store.comparisons.list(limit=2)
    assert ([entry.id for entry in page], has_more) == (ids[:2], True)
    page, has_more = store.comparisons.list(limit=2, after=ids[1])
    assert ([entry.id for entry in page], has_more) == (ids[2:], False)
    store.comparisons.delete(ids[0])
    assert [entry.id for entry in store.comparisons.list()[0]] == ids[1:]


def test_a_comparison_is_deleted_together_with_an_answer(store):
    left, right = completion(store, "a"), completion(store, "b")
    compare(store, "left", left, right)
    store.completions.delete(right.id)
    assert store.comparisons.list() == ([], False)


def test_comparisons_of_other_keys_do_not_exist(store):
    ada, bob = (store.for_principal(Principal(name, "user")) for name in ("ada", "bob"))
    left, right = completion(ada, "a"), completion(ada, "b")
    id = compare(ada, "left", left, right).id
    assert bob.comparisons.scores() == []
    assert bob.comparisons.list() == ([], False)
    for call in (lambda: bob.comparisons.delete(id), lambda: compare(bob, "left", left, right)):
        with pytest.raises(NotFound):
            call()
    assert len(ada.comparisons.scores()) == 1


def test_comparisons_of_a_person_are_exported_and_erased(store):
    compare(store, "left", completion(store, "a"), completion(store, "b"), user="ann")
    compare(store, "left", completion(store, "a"), completion(store, "b"), user="bob")
    ann = DataSubject(None, "ann")
    (exported,) = store.personal_data.export(ann)["comparisons"]
    assert (exported["verdict"], exported["user"]) == ("left", "ann")
    assert store.personal_data.owners_of("ann") == [None]
    assert store.personal_data.erase(ann)["comparisons"] == 1
    assert [entry.content.user for entry in store.comparisons.list()[0]] == ["bob"]
