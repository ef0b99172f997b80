"""Pulls a model from the Hugging Face hub with `huggingface_hub`: safetensors or GGUF, tokenizer and configs."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from turnwise.app.model_store.catalogue_entry import ModelPurpose
from turnwise.app.model_store.folder_files import file_sha256, list_files, remove_other_files
from turnwise.app.model_store.hub_files import HubFile, is_gguf_path, select_files, stored_path
from turnwise.app.model_store.store import ModelStore
from turnwise.app.model_store.stored_model import StoredModel
from turnwise.core.errors import InvalidData, InvalidParameter, ModelNotFound, SaveFailed, Unavailable, UserError
from turnwise.models.gguf.shard_names import gguf_model_name
from turnwise.models.stored_models import HubReference, parse_hub_reference

WRITE_ERRORS = {  # errors of this machine; those of the network have other numbers or none
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
}  # fmt: skip
CHAT_TASKS, EMBEDDING_TASKS = ("text-generation",), ("feature-extraction", "sentence-similarity")


@dataclass(frozen=True)
class HubModel:
    """A revision of a repository and the files of it that are pulled."""

    reference: HubReference
    commit: str
    license: str
    kind: ModelPurpose
    files: tuple[HubFile, ...]

    @property
    def repository(self) -> str:
        """ORG/NAME."""
        return self.reference.repository

    @property
    def bytes(self) -> int:
        """Bytes to download."""
        return sum(file.bytes for file in self.files)

    @property
    def source(self) -> str:
        """The reference with the commit and, for a GGUF model, its file."""
        gguf = self.files[0].path if is_gguf_path(self.files[0].path) else None
        return str(HubReference(self.repository, gguf, self.commit))

    @property
    def default_name(self) -> str:
        """The name of the repository; of the model in the file, if the reference names one."""
        name = PurePosixPath(self.reference.file or self.repository).name
        return gguf_model_name(name) if self.reference.file else name

    @property
    def verification(self) -> str:
        """How many of the files are compared with a SHA-256 that the hub states."""
        num_hashed = sum(file.sha256 is not None for file in self.files)
        if num_hashed == len(self.files):
            return "SHA-256 verified"
        return f"SHA-256 of {num_hashed} of {len(self.files)} files verified" if num_hashed else "no SHA-256 stated"


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
    parsed = parse_hub_reference(reference)
    if parsed is None:
        raise InvalidParameter(
            "model", f"'{reference[:80]}' should be hf:ORG/NAME, with @REVISION or /FILE.gguf if needed."
        )
    with _hub_errors(parsed.repository):
        info = _import_hub().HfApi().model_info(parsed.repository, revision=parsed.revision, files_metadata=True)
    available = [
        HubFile(sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None)
        for sibling in info.siblings or ()
    ]
    license_name = getattr(info.card_data, "license", None)
    return HubModel(
        reference=parsed,
        commit=str(info.sha),
        license=license_name if isinstance(license_name, str) else "unknown",
        kind=_purpose(info.pipeline_tag),
        files=tuple(select_files(parsed.repository, available, parsed.file)),
    )


def pull_hub_model(model: StoredModel, hub_model: HubModel, store: ModelStore) -> Path:
    """Download a model into the store and return its folder.

    `huggingface_hub` shows the progress and continues interrupted files. GGUF files of subfolders are moved to the top
    level, where a model's file is looked up.

    Raises:
        Unavailable: the hub cannot be reached, or another process pulls the model.
        InvalidData: a file does not have the SHA-256 that the hub states.
        SaveFailed: a write failed.
        UserError: there is not enough space.
    """
    with store.lock(model.name):
        staging = store.staging(model)
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
        targets = {file.path: stored_path(file.path) for file in hub_model.files}
        for origin, target in targets.items():
            (staging / origin).replace(staging / target)
        remove_other_files(staging, targets.values())  # such as those of huggingface_hub
        return store.publish(staging, model.model_copy(update={"files": list_files(staging)}))


def _purpose(task: str | None) -> ModelPurpose:
    if task in CHAT_TASKS:
        return "chat"
    return "embeddings" if task in EMBEDDING_TASKS else "unknown"


def _import_hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise UserError("Models of the hub need huggingface_hub: pip install 'turnwise[hub]'") from None
    return huggingface_hub


@contextmanager
def _hub_errors(repository: str) -> Iterator[None]:
    """Translate errors of `huggingface_hub`. Its errors of the network may be `OSError` too."""
    hub = _import_hub()
    try:
        yield
    except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError, hub.errors.GatedRepoError) as error:
        reason = "needs an agreement on its page" if isinstance(error, hub.errors.GatedRepoError) else "does not exist"
        raise ModelNotFound(
            f"{repository} {reason} on the hub, or your token (`hf auth login`) gives no access to it."
        ) from error
    except OSError as error:
        if error.errno in WRITE_ERRORS:
            raise SaveFailed(
                f"Could not write {error.filename or f'files of {repository}'}: {error.strerror}. "
                "The same command continues."
            ) from error
        raise _unavailable(repository, error) from error
    except Exception as error:  # the HTTP library, and so the class of its errors, changes between versions
        raise _unavailable(repository, error) from error


def _unavailable(repository: str, error: Exception) -> Unavailable:
    reason = str(error).strip().splitlines()[0][:200].rstrip(". ") if str(error).strip() else type(error).__name__
    return Unavailable(
        f"The hub could not be used for {repository}: {reason}. Without a hub: run `hf download {repository} "
        "--local-dir FOLDER` where one can be reached, copy FOLDER here, then run `turnwise models pull FOLDER`."
    )
