"""Descriptions of models for `turnwise models list` and `show`."""

from collections import Counter
from pathlib import Path
from typing import Any

from turnwise.app.model_names import resolve_model_folder
from turnwise.app.model_store.catalogue_entry import load_catalogue
from turnwise.app.model_store.store import ModelStore
from turnwise.app.model_store.stored_model import DamagedModel, StoredFile, StoredModel
from turnwise.core.errors import ModelNotFound, UserError, did_you_mean
from turnwise.models.adapter_config import is_adapter, read_adapter_config
from turnwise.models.bundled_models import BUNDLED_MODELS, BundledModel, find_bundled_model
from turnwise.models.classifier_config import is_classifier, read_classifier_config
from turnwise.models.model_folders import read_hf_config
from turnwise.models.safetensors_file import SafetensorsFile
from turnwise.models.tensor_header import DTYPES_BY_CODE

CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx")  # of config.json, by family


def list_all(store: ModelStore | None = None) -> list[dict[str, Any]]:
    """Bundled models, pulled models and models to pull, each with name, status, bytes, kind, license, title.

    Bytes of a model to pull are the download size. The status of a pulled model whose `source.json` cannot be read is
    "damaged".
    """
    store = store or ModelStore()
    pulled = store.names()
    models = [_model_entry("bundled", _bundled_entry(bundled)) for bundled in BUNDLED_MODELS.values()]
    models += [_stored_entry(store, name) for name in pulled]
    models += [
        _list_entry(name, "available", entry.download_bytes, entry.kind, entry.license, entry.title)
        for name, entry in load_catalogue().items()
        if name not in pulled
    ]
    return models


def _bundled_entry(bundled: BundledModel) -> StoredModel:
    paths = sorted(bundled.path.glob("*.safetensors"))
    return StoredModel(
        name=bundled.name,
        title=bundled.title,
        kind=bundled.kind,
        license=bundled.license,
        source="this package",
        files=tuple(StoredFile(path=path.name, bytes=path.stat().st_size, sha256="") for path in paths),
    )


def _stored_entry(store: ModelStore, name: str) -> dict[str, Any]:
    try:
        model = store.get(name)
    except DamagedModel:
        model = None
    if model is not None:
        return _model_entry("pulled", model)
    return _list_entry(name, "damaged", store.size(name), "unknown", "unknown", "pull it again, or remove it")


def _model_entry(status: str, model: StoredModel) -> dict[str, Any]:
    return _list_entry(model.name, status, model.bytes, model.kind, model.license, model.title)


def _list_entry(name: str, status: str, num_bytes: int, kind: str, license_name: str, title: str) -> dict[str, Any]:
    return {
        "name": name, "status": status, "bytes": num_bytes, "kind": kind, "license": license_name, "title": title,
    }  # fmt: skip


def describe(name: str, store: ModelStore | None = None) -> dict[str, Any]:
    """Everything that is known about a bundled or pulled model; `error` if its files cannot be read.

    Raises:
        ModelNotFound: the model has not been pulled.
        DamagedModel: its `source.json` cannot be read.
    """
    store = store or ModelStore()
    bundled = find_bundled_model(name)
    stored = store.get(name) if bundled is None else _bundled_entry(bundled)
    if stored is None:
        if name in load_catalogue():
            resolve_model_folder(name)  # explains how to pull it
        raise ModelNotFound(f"There is no pulled model '{name[:60]}'; {did_you_mean(name, store.names())}")
    folder = store.folder(name) if bundled is None else bundled.path
    try:
        config_facts = model_facts(folder)
    except UserError as error:
        config_facts = {"error": str(error)}
    facts = stored.model_dump(exclude={"files", "license_note"})
    return {
        **facts,
        "license_note": stored.license_note,
        "path": str(folder),
        "bytes": stored.bytes,
        **config_facts,
        "files": [file.model_dump() for file in stored.files],
    }


def model_facts(folder: Path) -> dict[str, Any]:
    """Architecture, context length, type of the weights and labels, as far as the model's files state them.

    Raises:
        UserError: the config or the GGUF file is damaged.
    """
    if (gguf := next(iter(sorted(folder.glob("*.gguf"))), None)) and not any(folder.glob("*.safetensors")):
        return _gguf_facts(gguf)
    labels = {"labels": read_classifier_config(folder).labels} if is_classifier(folder) else {}
    if is_adapter(folder):
        return {"base_model": read_adapter_config(folder).get("base_model_name_or_path"), **labels}
    config = read_hf_config(folder)
    lengths = (config.get(key) for key in CONTEXT_KEYS)
    return {
        "architecture": next(iter(config.get("architectures") or ()), config["model_type"]),
        "context_length": next((length for length in lengths if isinstance(length, int)), None),
        "quantization": _weights_dtype(folder),
        **labels,
    }


def _gguf_facts(path: Path) -> dict[str, Any]:
    """The same facts of a GGUF file; `quantization` lists the formats of its tensors, that of the most bytes first."""
    from turnwise.models.gguf.metadata import GgufMetadata  # imports gguf and numpy, which takes 0.3 s
    from turnwise.models.gguf.model_file import read_model

    header = read_model(path)
    metadata = GgufMetadata(header)
    bytes_by_format: Counter[str] = Counter()
    for tensor in header.tensors.values():
        bytes_by_format[tensor.type_name] += tensor.num_bytes
    return {
        "architecture": metadata.architecture,
        "context_length": metadata.optional_integer("{arch}.context_length"),
        "quantization": ", ".join(name for name, _ in bytes_by_format.most_common()),
    }


def _weights_dtype(folder: Path) -> str | None:
    """Dtype of the largest tensor of a folder's first safetensors file, or None."""
    path = next(iter(sorted(folder.glob("*.safetensors"))), None)
    tensors = SafetensorsFile(path).tensors.values() if path is not None else ()
    largest = max(tensors, key=lambda tensor: tensor.stop - tensor.start, default=None)
    return None if largest is None else DTYPES_BY_CODE.get(largest.dtype, (largest.dtype, 0))[0]
