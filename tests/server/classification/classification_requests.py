"""Classifiers of the tests, texts for them, and calls of the routes."""

from turnwise.models.classifier_config import ClassifierConfig

CONFIGS = {
    "moods": ClassifierConfig("sequence_classification", ("good", "bad", "<b>odd</b>"), threshold=0.2),
    "topics": ClassifierConfig("sequence_classification", ("a", "b", "c", "d"), is_multi_label=True),
    "names": ClassifierConfig("token_classification", ("O", "B-PER", "I-PER", "B-LOC"), context_words=5),
}
TEXTS = ["Ada likes Rome.", "Dan left Oslo, and Ben saw Lima!", "谢谢你 Ada", "e\u0301 👩‍👩‍👧 ﷺ\u202e"]


def labels_of(post, texts, model="moods", **fields):
    """The entries of the response for some texts."""
    answer = post("classify", model=model, input=texts, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def spans_of(post, texts, **fields):
    """The spans of every text."""
    answer = post("tag", model="names", input=texts, **fields)
    assert answer.status_code == 200, answer.text
    return [entry["spans"] for entry in answer.json()["data"]]
