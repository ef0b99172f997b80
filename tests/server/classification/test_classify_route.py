"""`/v1/classify`: labels, scores, thresholds and truncation."""

import pytest
from classification_requests import TEXTS, labels_of

from turnwise.app.classifiers import open_classifier


@pytest.mark.parametrize("model", ["moods", "topics"])
def test_a_response_has_the_labels_that_the_classifier_predicts(post, folders, model):
    expected = open_classifier(str(folders[model])).classify(TEXTS)
    answer = post("classify", model=model, input=TEXTS).json()
    assert (answer["object"], answer["model"]) == ("list", model)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > len(TEXTS)
    assert [entry["index"] for entry in answer["data"]] == list(range(len(TEXTS)))
    for entry, result in zip(answer["data"], expected, strict=True):
        assert entry["labels"] == list(result.labels)
        assert [score["label"] for score in entry["scores"]] == [score.label for score in result.scores]
        assert [score["probability"] for score in entry["scores"]] == pytest.approx(
            [score.probability for score in result.scores], abs=1e-6
        )
    assert len({str(entry["scores"]) for entry in answer["data"]}) == len(TEXTS), "the order of texts matters here"


def test_a_text_has_the_same_labels_alone_and_among_others(post):
    together = labels_of(post, TEXTS * 50)
    for number in (0, 65, 199):
        (alone,) = labels_of(post, TEXTS[number % 4])
        assert alone["labels"] == together[number]["labels"]
        assert alone["scores"][0]["probability"] == pytest.approx(together[number]["scores"][0]["probability"])


def test_top_k_limits_the_scores_and_not_the_labels(post):
    (complete,) = labels_of(post, "Ada likes Rome.", model="topics", threshold=0)
    assert len(complete["labels"]) == len(complete["scores"]) == 4
    for top_k in (1, 2, 9):
        (entry,) = labels_of(post, "Ada likes Rome.", model="topics", threshold=0, top_k=top_k)
        assert entry["scores"] == complete["scores"][:top_k]
        assert entry["labels"] == complete["labels"]


@pytest.mark.parametrize("model", ["moods", "topics"])
def test_the_threshold_of_a_request_replaces_the_classifier_s(post, model):
    (complete,) = labels_of(post, "Ada likes Rome.", model=model)
    highest = complete["scores"][0]["probability"]
    (at,) = labels_of(post, "Ada likes Rome.", model=model, threshold=highest)
    (above,) = labels_of(post, "Ada likes Rome.", model=model, threshold=min(1.0, highest * 1.0001))
    assert at["labels"] == [complete["scores"][0]["label"]]
    assert above["labels"] == []
    assert above["scores"] == complete["scores"]


def test_a_long_text_is_truncated_and_the_response_says_so(post):
    short, long, longer = labels_of(post, ["Ada", "likes Rome " * 100, "likes Rome " * 101])
    assert [entry["is_truncated"] for entry in (short, long, longer)] == [False, True, True]
    assert long["scores"] == longer["scores"]
