"""The option `--classifier` of `turnwise serve`."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from turnwise.chat.classification_service import StepwiseClassificationService


def parse_classifiers(values: Sequence[str], quantize: str | None = None) -> dict[str, str]:
    """Models by served name, from MODEL or NAME=MODEL. Every model is checked before anything large is loaded.

    Args:
        values: values of the option.
        quantize: as for `open_classifier`.

    Raises:
        InvalidParameter: a name is empty, an alias, or occurs twice; or a model cannot be quantized.
        UserError: there is no such model, or it is not a classifier.
    """
    from turnwise.app.classifiers import check_classifier, classifier_name
    from turnwise.core.errors import InvalidParameter
    from turnwise.core.files import path_exists
    from turnwise.server.served_models import ALIASES

    if quantize is not None and not values:
        raise InvalidParameter("classifier_quantize", "--classifier-quantize needs --classifier.")
    models: dict[str, str] = {}
    for value in values:
        name, separator, model = value.partition("=")
        if not separator or path_exists(Path(value)):  # the path of a folder may hold "="
            name, model = classifier_name(value), value
        if not (name and model):
            raise InvalidParameter("classifier", f"--classifier {value}: must be FOLDER or NAME=FOLDER.")
        if name in ALIASES:
            raise InvalidParameter("classifier", f"--classifier {value}: '{name}' stands for the default model.")
        if name in models:
            raise InvalidParameter("classifier", f"Two classifiers have the name '{name}'. Give one as NAME=FOLDER.")
        check_classifier(model, quantize)
        models[name] = model
    return models


def open_classifiers(
    models: Mapping[str, str], *, taken_names: Collection[str], quantize: str | None = None, threads: int | None
) -> "dict[str, StepwiseClassificationService]":
    """Open classifiers as services that share a thread, and print what each of them does.

    Raises `InvalidParameter` if another model has the name of one, and as `open_classification_service` does.
    """
    from turnwise.app.classifiers import open_classification_service
    from turnwise.chat.stepwise_executor import StepwiseExecutor
    from turnwise.core.errors import InvalidParameter

    if taken := sorted(models.keys() & set(taken_names)):
        raise InvalidParameter(
            "classifier", f"Two models have the name '{taken[0]}'. Give the classifier another one: NAME=FOLDER."
        )
    executor = StepwiseExecutor("classification")  # one for all, because they use the same cores
    services = {}
    for name, model in models.items():
        services[name] = service = open_classification_service(
            model, quantize=quantize, threads=threads, name=name, executor=executor
        )
        is_tagger = service.task == "token_classification"
        purpose = "tags words with" if is_tagger else "classifies texts with"
        typer.echo(
            f"{name}: {purpose} {len(service.labels):,} labels (POST {'/v1/tag' if is_tagger else '/v1/classify'})."
        )
    return services
