"""Opens a knowledge base by its name or folder, with its encoder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from turnwise.app.knowledge.encoder import NO_ENCODER, ModelEncoder, default_encoder
from turnwise.app.knowledge.knowledge_base import DATABASE, KnowledgeBase
from turnwise.core.errors import InvalidParameter, ModelNotFound, NotFound
from turnwise.core.settings import Settings
from turnwise.store import open_knowledge_store

DEFAULT_BASE = "default"
ENCODER_SETTING = "encoder"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@contextmanager
def open_knowledge_base(
    name: str = DEFAULT_BASE, encoder: str | None = None, *, create: bool = False, threads: int | None = None
) -> Iterator[KnowledgeBase]:
    """Open a knowledge base; it is closed when the block ends.

    Args:
        name: a name in `TURNWISE_HOME/knowledge`, or the path of a folder, which contains a slash.
        encoder: name of its embedding model, or "none". Default: the one that was used before, if it still is on this
            machine; of a new knowledge base, the first default encoder that is.
        create: create a missing knowledge base.
        threads: number of threads of the encoder.

    Raises:
        InvalidParameter: an invalid name.
        ModelNotFound: the named encoder is not on this machine.
        NotFound: there is no such knowledge base.
    """
    folder = base_folder(name)
    if not create and not (folder / DATABASE).is_file():
        raise NotFound(f"There is no knowledge base {name}: `turnwise knowledge add FILE --base {name}` creates it.")
    store = open_knowledge_store(f"sqlite:///{folder / DATABASE}")
    try:
        stored = store.setting(ENCODER_SETTING)
        model = encoder or stored or default_encoder() or NO_ENCODER
        opened, notice = None, None
        if model != NO_ENCODER:
            try:
                opened = ModelEncoder(model, threads)
            except ModelNotFound as error:
                if encoder is not None:
                    raise
                notice = str(error)  # documents can still be listed, deleted and searched by words
        if model != stored and (encoder is not None or opened is not None):
            store.save_setting(ENCODER_SETTING, model)
        base = KnowledgeBase(folder, store, opened, notice)
    except BaseException:
        store.close()
        raise
    try:
        yield base
    finally:
        base.close()


def base_folder(name: str) -> Path:
    """The folder of a knowledge base. Raises `InvalidParameter` for an invalid name."""
    if "/" in name:
        return Path(name).expanduser().absolute()
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            "base", f"'{name[:100]}' is no name of a knowledge base: use letters, digits, '-', '_' and '.', or a path."
        )
    return Settings.from_environment().knowledge / name


def base_names() -> list[str]:
    """Names of the knowledge bases in `TURNWISE_HOME`."""
    return sorted(path.parent.name for path in Settings.from_environment().knowledge.glob(f"*/{DATABASE}"))
