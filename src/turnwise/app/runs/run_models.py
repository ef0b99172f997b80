"""The models that runs can name: installed chat models, and those of earlier trainings."""

from collections.abc import Iterable
from pathlib import Path

from turnwise.app.model_names import resolve_model_folder
from turnwise.app.model_store.model_list import list_all
from turnwise.app.runs.run_folder import RunFolder
from turnwise.core.errors import InvalidParameter, NotFound, TurnwiseError, did_you_mean
from turnwise.core.runs import RunMethod, RunModel
from turnwise.models.adapter_config import is_adapter
from turnwise.models.stored_models import converted_gguf

PREFIX = "run:"  # of the names of models of runs
USABLE = ("bundled", "pulled")


def run_models(folders: Iterable[RunFolder]) -> list[RunModel]:
    """Installed chat models, then the models of complete trainings, the newest first."""
    models = []
    for entry in list_all():
        if entry["kind"] != "chat" or entry["status"] not in USABLE:
            continue
        try:
            folder = resolve_model_folder(entry["name"])
        except TurnwiseError:  # an adapter whose base is not on this machine, or a damaged model
            continue
        models.append(RunModel(entry["name"], f"{entry['name']}: {entry['title']}", _methods(folder)))
    return [*models, *(model for folder in reversed(list(folders)) for model in _model_of_run(folder))]


def _model_of_run(folder: RunFolder) -> list[RunModel]:
    try:
        record = folder.record()
    except NotFound:
        return []
    if record.kind != "training" or not folder.has_model:
        return []
    return [RunModel(PREFIX + folder.id, record.title, _methods(folder.model), record.options.get("base_model"))]


def _methods(folder: Path) -> tuple[RunMethod, ...]:
    """An adapter is trained further, and the quantized weights of a GGUF file stay as they are."""
    return ("lora",) if is_adapter(folder) or converted_gguf(folder) is not None else ("full", "lora")


def find_run_model(models: Iterable[RunModel], name: str, field: str) -> RunModel:
    """The model of a name. Raises `InvalidParameter` for the field if there is none."""
    by_name = {model.name: model for model in models}
    if name not in by_name:
        raise InvalidParameter(field, f"There is no model '{name[:60]}' for runs; {did_you_mean(name, by_name)}")
    return by_name[name]


def model_path(model: RunModel, root: Path) -> Path:
    """The folder of a model. Raises `ModelNotFound` if it was removed meanwhile."""
    if model.name.startswith(PREFIX):
        return RunFolder(root / model.name.removeprefix(PREFIX)).model
    return resolve_model_folder(model.name)
