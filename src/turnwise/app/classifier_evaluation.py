"""Evaluates a trained classifier as it is served, possibly against a base, and writes the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from turnwise.app.classifier_data import ClassifierData, select_usable
from turnwise.app.classifiers import open_classifier
from turnwise.app.model_names import resolve_model_folder
from turnwise.app.systems_under_test import parse_baseline
from turnwise.app.text_classifier import TextClassifier
from turnwise.core.classification import TextLabels
from turnwise.core.errors import InvalidData, InvalidParameter
from turnwise.core.plurals import pluralize
from turnwise.core.tag_schemes import OUTSIDE
from turnwise.data.annotations.annotated import Annotated, TaggedSentence
from turnwise.evaluation.classification.classifier_evaluation import (
    ClassifierEvaluation,
    WordTags,
    evaluate_tags,
    evaluate_texts,
)
from turnwise.models.classifier_config import is_classifier

if TYPE_CHECKING:
    from turnwise.training.recipe import Recipe


class LabelPredictor(Protocol):
    """A classifier of texts, or a baseline."""

    def classify(self, texts: Sequence[str], /) -> Sequence[TextLabels]:
        """Predict the labels of texts."""


class TagPredictor(Protocol):
    """A tagger, or a baseline."""

    def tag_words(self, sentences: Sequence[TaggedSentence], /) -> Sequence[WordTags]:
        """Predict the tags of words and their probabilities."""


Baseline = LabelPredictor | TagPredictor


@dataclass(frozen=True)
class ClassifierEvaluationRun:
    """An evaluation with the sentences about its data.

    Attributes:
        evaluation: the result.
        notes: sentences about the data, for the top of the report.
        report_dir: folder of the report; None writes none.
    """

    evaluation: ClassifierEvaluation
    notes: Sequence[str]
    report_dir: Path | None = None


@dataclass(frozen=True)
class ComparedSystem:
    """The base of a comparison.

    Attributes:
        name: its name in the report.
        predictor: predicts labels or tags.
        labels: the labels that it knows; None if that does not matter.
        context_words: words of the document that it reads around a sentence.
    """

    name: str
    predictor: Baseline
    labels: frozenset[str] | None = None
    context_words: int = 0


def is_classifier_name(model: str | None) -> bool:
    """True if a model name or folder stands for a classifier, and not for a chat model or one of its baselines.

    Raises `ModelNotFound` if there is no such model.
    """
    return model is not None and parse_baseline(model) is None and is_classifier(resolve_model_folder(model))


def open_base_classifier(name: str, classifier: TextClassifier, *, threads: int | None = None) -> ComparedSystem:
    """Open the classifier to compare with. Raises `InvalidParameter` if it has another task."""
    base = open_classifier(name, threads=threads)
    if base.config.task != classifier.config.task:
        task = "tags words" if base.config.task == "token_classification" else "labels texts"
        raise InvalidParameter("against", f"{name} {task}, which cannot be compared with this classifier.")
    return ComparedSystem(name, base, frozenset(base.config.labels), base.config.context_words)


def evaluate_classifier(
    classifier: TextClassifier,
    data: ClassifierData,
    base: ComparedSystem | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
) -> ClassifierEvaluationRun:
    """Predict the labels of annotated texts, and evaluate the predictions.

    Args:
        classifier: the classifier.
        data: at least one text or sentence.
        base: what to compare with.
        metadata: what is needed to repeat the evaluation; "model" is the classifier's name.
    """
    settings = {**(metadata or {}), **({} if base is None else {"base": base.name})}
    notes = [*data.notes(), *_base_notes(data, base)]
    if classifier.config.task == "token_classification":
        sentences = data.sentences
        # True tags would decide where a sentence that is too long is split.
        plain = [replace(sentence, tags=(OUTSIDE,) * len(sentence.tokens)) for sentence in sentences]
        base_tags = None if base is None else base.predictor.tag_words(plain)  # type: ignore[union-attr]
        evaluation = evaluate_tags(sentences, classifier.tag_words(plain), base_tags, metadata=settings)
        return ClassifierEvaluationRun(evaluation, notes)
    texts = data.texts
    strings = [text.text for text in texts]
    evaluation = evaluate_texts(
        texts,
        classifier.classify(strings),
        None if base is None else base.predictor.classify(strings),  # type: ignore[union-attr]
        classifier.config.labels,
        is_multi_label=classifier.config.is_multi_label,
        metadata=settings,
    )
    return ClassifierEvaluationRun(evaluation, notes)


def evaluate_run(recipe: "Recipe", items: Sequence[Annotated]) -> ClassifierEvaluationRun:
    """Evaluate the classifier of a finished run on held-out texts, and write the report beside its weights.

    The base is the classifier that training continued, else the most frequent label of the training data.

    Raises:
        InvalidData: a row of the training data is bad, or no held-out text can be evaluated.
        SaveFailed: the report cannot be written.
    """
    from turnwise.evaluation.report import write_classifier_report
    from turnwise.training.launch.run_dir import output_dir
    from turnwise.training.loggers import METRICS_FILE, read_loss_curve

    folder = output_dir(recipe)
    classifier = open_classifier(str(folder))
    data = select_usable(classifier.config, items)
    if not data.items:
        raise InvalidData("The held-out data has no text with a label that the classifier knows.")
    metadata = {"model": str(folder), "base_model": recipe.model.source}
    run = evaluate_classifier(classifier, data, _base_of_run(recipe, classifier), metadata=metadata)
    report_dir = folder / "report"
    loss_curve = read_loss_curve(folder / METRICS_FILE)
    write_classifier_report(report_dir, run.evaluation, notes=run.notes, loss_curve=loss_curve)
    return replace(run, report_dir=report_dir)


def _base_of_run(recipe: "Recipe", classifier: TextClassifier) -> ComparedSystem:
    from turnwise.evaluation.classification.most_frequent import MostFrequentLabel, MostFrequentTag
    from turnwise.training.examples.holdout import training_annotations

    source = recipe.model.source
    if source and is_classifier_name(source):
        base = open_classifier(source)
        if base.config.task == classifier.config.task:
            return ComparedSystem(source, base, frozenset(base.config.labels))
    data = select_usable(classifier.config, training_annotations(recipe))
    if classifier.config.task == "token_classification":
        tagger = MostFrequentTag(data.sentences)
        return ComparedSystem(tagger.name, tagger)
    baseline = MostFrequentLabel(data.texts)
    return ComparedSystem(baseline.name, baseline)


def _base_notes(data: ClassifierData, base: ComparedSystem | None) -> list[str]:
    """A sentence about labels that the base does not know: its predictions for them are errors."""
    if base is None or base.labels is None:
        return []
    count = sum(bool({*text.labels} - base.labels) for text in data.texts)
    if not count:
        return []
    return [f"{base.name} does not know the label of {pluralize(count, 'text')}; these count as its errors."]
