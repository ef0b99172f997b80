"""Opens one version of a model, and checks it before it answers anybody."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.app.version_serving.version_check import check_answers
from turnwise.core.chat_service import ChatService
from turnwise.core.model_versions import ModelVersion
from turnwise.core.served_versions import AnsweringVersion

# (folder of the weights, served model name, version) → the chat service, open until the block ends
OpenModel = Callable[[Path, str, AnsweringVersion], AbstractContextManager[ChatService]]


@contextmanager
def open_version(library: VersionLibrary, open_model: OpenModel, version: ModelVersion) -> Iterator[ChatService]:
    """Open a version whose weights are those of its record, and let it answer once.

    Raises:
        UserError: the weights were changed, damaged or deleted, or the version fails its check.
    """
    folder = library.verified_folder(version)
    with open_model(folder, version.content.model, AnsweringVersion.of(version)) as service:
        check_answers(service, version)
        yield service
