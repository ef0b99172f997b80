"""Pulls a model from the Hugging Face hub with `huggingface_hub`: safetensors or GGUF, tokenizer and configs."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnwise.app.model_store.catalogue_entry import ModelPurpose
from turnwise.app.model_store.store import ModelStore, StoredModel, file_sha256, list_files
from turnwise.core.errors import InvalidData, InvalidParameter, ModelNotFound, SaveFailed, Unavailable, UserError

REFERENCE = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./-]+\.gguf))?(?:@(?P<revision>[\w./-]+))?")
SAFE_FILE = re.compile(r"(?:\d_[A-Za-z]+/)?\w[\w.-]*\.(?:json|jinja|model|txt|md|safetensors)|LICENSE")
GGUF_FILE = re.compile(r"(?:\w[\w.-]*/)*\w[\w.-]*\.gguf")  # a hub cannot name a path outside the model's folder
CHAT_TASKS, EMBEDDING_TASKS = ("text-generation",), ("feature-extraction", "sentence-similarity")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository. `sha256` is None for small files, which the hub stores in git."""

    path: str
    bytes: int
    sha256: str | None


@dataclass(frozen=True)
class HubModel:
    """A revision of a repository and the files of it that are pulled."""

    repository: str
    commit: str
    license: str
    kind: ModelPurpose
    files: tuple[HubFile, ...]

    @property
    def bytes(self) -> int:
        """Bytes to download."""
        return sum(file.bytes for file in self.files)


def find_hub_model(reference: str) -> HubModel:
    """Look up a model on the hub.

    Args:
        reference: `hf:ORG/NAME`, `hf:ORG/NAME@REVISION`, or `hf:ORG/NAME/FILE.gguf`.

    Raises:
        InvalidParameter: the reference has another form, or has to name one of several GGUF files.
        ModelNotFound: there is no such model or revision, or access needs an agreement or a token.
        UserError: the model has only pickled weights, or `huggingface_hub` is not installed.
        Unavailable: the hub cannot be reached.
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise InvalidParameter(
            "model", f"'{reference[:80]}' should be hf:ORG/NAME, with @REVISION or /FILE.gguf if needed."
        )
    repository, file, revision = match["repository"], match["file"], match["revision"]
    with _hub_errors(repository):
        info = _import_hub().HfApi().model_info(repository, revision=revision, files_metadata=True)
    available = [
        HubFile(sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None)
        for sibling in info.siblings or ()
    ]
    license_name = getattr(info.card_data, "license", None)
    return HubModel(
        repository=repository,
        commit=str(info.sha),
        license=license_name if isinstance(license_name, str) else "unknown",
        kind=_purpose(info.pipeline_tag),
        files=tuple(select_files(repository, available, file)),
    )


def select_files(repository: str, files: list[HubFile], gguf: str | None) -> list[HubFile]:
    """The files to pull: one GGUF file, or safetensors with their tokenizer and configs.

    Raises:
        InvalidParameter: `gguf` does not exist, or there are several GGUF files and no safetensors.
        UserError: there are neither safetensors nor GGUF files.
    """
    ggufs = [file for file in files if GGUF_FILE.fullmatch(file.path)]
    if gguf is not None:
        if selected := [file for file in ggufs if file.path == gguf]:
            return selected
        raise InvalidParameter("model", f"{repository} has no file {gguf}. GGUF files: {_names(ggufs)}.")
    safe = [file for file in files if SAFE_FILE.fullmatch(file.path) and not file.path.startswith("consolidated")]
    if any(file.path.endswith(".safetensors") for file in safe):
        return safe
    if len(ggufs) == 1:
        return ggufs
    if ggufs:
        raise InvalidParameter(
            "model", f"{repository} has {len(ggufs)} GGUF files; name one: {_names(ggufs, repository)}."
        )
    raise UserError(f"{repository} has no safetensors and no GGUF file. Pickled weights are not pulled.")


def pull_hub_model(model: StoredModel, hub_model: HubModel, store: ModelStore) -> Path:
    """Download a model into the store and return its folder.

    `huggingface_hub` shows the progress and continues interrupted files.

    Raises:
        Unavailable: the hub cannot be reached, or another process pulls the model.
        InvalidData: a file has not the SHA-256 that the hub states.
        SaveFailed: a write failed.
        UserError: there is not enough space.
    """
    with store.lock(model.name) as work:
        staging = work / "model"
        store.check_space(model.name, hub_model.bytes)
        for file in hub_model.files:
            with _hub_errors(hub_model.repository):
                path = _import_hub().hf_hub_download(
                    hub_model.repository, file.path, revision=hub_model.commit, local_dir=staging
                )
            if file.sha256 is not None and file_sha256(Path(path)) != file.sha256:
                Path(path).unlink()
                raise InvalidData(
                    f"{file.path} of {hub_model.repository} is damaged and was deleted. Run the command again."
                )
        shutil.rmtree(staging / ".cache", ignore_errors=True)  # of huggingface_hub
        try:
            return store.publish(staging, model.model_copy(update={"files": list_files(staging)}))
        except OSError as error:
            raise SaveFailed(f"Could not write {store.root}: {error.strerror or error}.") from error


def _purpose(task: str | None) -> ModelPurpose:
    if task in CHAT_TASKS:
        return "chat"
    return "embeddings" if task in EMBEDDING_TASKS else "unknown"


def _names(files: list[HubFile], repository: str = "") -> str:
    prefix = f"hf:{repository}/" if repository else ""
    names = [f"{prefix}{file.path}" for file in files]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "none"


def _import_hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError("Models of the hub need huggingface_hub: pip install 'turnwise[hub]'") from None
    return huggingface_hub


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    """Translate errors of `huggingface_hub`."""
    hub = _import_hub()
    try:
        yield
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError, hub.errors.GatedRepoError) as error:
        reason = "needs an agreement on its page" if isinstance(error, hub.errors.GatedRepoError) else "does not exist"
        raise ModelNotFound(
            f"{repository} {reason} on the hub, or your token (`hf auth login`) gives no access to it."
        ) from error
    except Exception as error:  # the HTTP library, and so the class of its errors, changes between versions
        reason = str(error).strip().splitlines()[0][:200].rstrip(". ") if str(error).strip() else type(error).__name__
        raise Unavailable(
            f"The hub could not be used for {repository}: {reason}. Without a hub: run `hf download {repository} "
            "--local-dir FOLDER` where one can be reached, copy FOLDER here, then run `turnwise models pull FOLDER`."
        ) from error
