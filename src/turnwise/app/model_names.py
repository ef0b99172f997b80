"""Model names as commands accept them: a bundled model, a folder or file, a model of the store, or a version."""

from pathlib import Path
from typing import TYPE_CHECKING

from turnwise.app.default_model import default_model_name
from turnwise.app.model_store.catalogue_entry import CatalogueEntry, load_catalogue
from turnwise.app.model_versions.version_reference import VersionReference, parse_reference
from turnwise.core.errors import ModelNotFound, NotFound
from turnwise.core.files import path_exists
from turnwise.models.bundled_models import BundledModel, find_bundled_model
from turnwise.models.model_folders import find_model_folder
from turnwise.models.model_kind import full_model_folder
from turnwise.models.stored_models import HUB_PREFIX, stored_model_folder

if TYPE_CHECKING:
    from turnwise.text.rendering.renderer import Renderer


def resolve_model_folder(name: str | Path | None) -> Path:
    """Return the folder of a model.

    Args:
        name: a bundled model; else a path; else the name of a stored model, or the reference that it was pulled by,
            such as `hf:ORG/NAME/FILE.gguf`; else a version, such as NAME@3, NAME@stable or NAME@latest; else a hub name
            in the local hub cache (see `find_model_folder`). None is the default model.

    Raises:
        ModelNotFound: there is no such model; the message says what to do.
        UserError: the model is damaged, or a reference stands for several stored models.
    """
    name = default_model_name() if name is None else str(name)
    if (bundled := find_bundled_model(name)) is not None:
        return _bundled_folder(bundled, name)
    if (reference := parse_reference(name)) is not None and not path_exists(Path(name)):
        return _version_folder(reference)
    if name.startswith(HUB_PREFIX):
        return find_model_folder(name, prefer_store=True)
    entry = load_catalogue().get(name)
    if entry is not None and not path_exists(Path(name)) and stored_model_folder(name) is None:
        raise ModelNotFound(f"{name} is not on this machine: run {pull_command(name, entry)}.")
    return find_model_folder(name)


def _bundled_folder(bundled: BundledModel, name: str) -> Path:
    if (base := bundled.base) is not None and stored_model_folder(base) is None:
        command = pull_command(base, load_catalogue()[base])
        raise ModelNotFound(f"{name} is an adapter of {base}, which is not on this machine: run {command}.")
    return bundled.path


def _version_folder(reference: VersionReference) -> Path:
    """The folder of a version, whose weights are those that were added. Raises `ModelNotFound` and `UserError`."""
    from turnwise.app.model_versions.version_library import open_version_library  # opens SQLite

    with open_version_library() as library:
        try:
            version = library.get(reference)
        except NotFound as error:
            raise ModelNotFound(str(error)) from error
        folder = library.verified_folder(version)
    if (bundled := find_bundled_model(version.content.source)) is not None:
        return _bundled_folder(bundled, str(reference))
    return folder


def named_model_folder(source: str) -> Path:
    """The folder of a bundled model, or that of a stored model. Raises `ModelNotFound`."""
    bundled = find_bundled_model(source)
    return find_model_folder(source, prefer_store=True) if bundled is None else bundled.path


def pull_command(name: str, entry: CatalogueEntry) -> str:
    """The command that pulls a model of the catalogue, with download size and license."""
    return f"turnwise models pull {name} ({entry.download_bytes / 1e6:,.0f} MB, {entry.license})"


def is_model_name(name: str) -> bool:
    """True if the name is one of a bundled model, of the catalogue or of a version, and not a path."""
    if find_bundled_model(name) is not None:
        return True
    return (name in load_catalogue() or parse_reference(name) is not None) and not path_exists(Path(name))


def load_renderer(model: str | None, format: str | None = None) -> "Renderer":
    """Load the tokenizer and chat template of a model, without its weights.

    Args:
        model: as for `resolve_model_folder`.
        format: interaction format, as for `chat.formats.load_format`. None: the model's own template.

    Raises:
        UserError: the folder holds no tokenizer, or a damaged one; or the format does not fit the model.
    """
    from turnwise.chat.formats import apply_format, load_format
    from turnwise.text.rendering.renderer import Renderer  # imports llguidance, which takes 0.3 s
    from turnwise.text.tokenization.tokenizer import Tokenizer

    folder = resolve_model_folder(model)
    tokenizer = Tokenizer.load(folder, full_model_folder(folder))
    return Renderer.from_tokenizer(tokenizer if format is None else apply_format(tokenizer, load_format(format)))
