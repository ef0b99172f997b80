"""Models that come with the package: complete ones, and adapters of models of the catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

BUNDLED_MODEL = "tiny"  # a complete chat model, which needs no other one


@dataclass(frozen=True, slots=True)
class BundledModel:
    """A model that comes with the package.

    Attributes:
        name: its name in commands.
        folder: its folder in the package.
        kind: what the model is for.
        title: what it is, in a few words.
        license: SPDX identifier of its license.
        base: the model of the catalogue that it is an adapter of; None for a complete model.
        aliases: earlier names that still work.
    """

    name: str
    folder: str
    kind: Literal["chat", "classification"]
    title: str
    license: str
    base: str | None = None
    aliases: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(str(resources.files("turnwise").joinpath(self.folder)))


ALL_BUNDLED_MODELS = (
    BundledModel(
        name=BUNDLED_MODEL,
        folder="box",
        kind="chat",
        title="5.5M parameters, the small chat model of this project",
        license="CC-BY-SA-4.0",
        aliases=("box",),
    ),
    BundledModel(
        name="assistant",
        folder="bundled/assistant",
        kind="chat",
        title="the default model of this project; an adapter of smollm2",
        license="CC-BY-SA-4.0",
        base="smollm2",
    ),
    BundledModel(
        name="financial-sentiment",
        folder="bundled/financial-sentiment",
        kind="classification",
        title="posts on finance: bearish, bullish or neutral; an adapter of minilm",
        license="Apache-2.0",
        base="minilm",
    ),
)
# By name. A package may be built without some of the folders.
BUNDLED_MODELS: Mapping[str, BundledModel] = {model.name: model for model in ALL_BUNDLED_MODELS if model.path.is_dir()}


def find_bundled_model(name: str) -> BundledModel | None:
    """The bundled model of a name, which may be an earlier one; None if there is none."""
    return BUNDLED_MODELS.get(name) or next((model for model in BUNDLED_MODELS.values() if name in model.aliases), None)


def bundled_model_folder(name: str = BUNDLED_MODEL) -> Path:
    """The folder of a bundled model. Raises `KeyError` for another name."""
    model = find_bundled_model(name)
    if model is None:
        raise KeyError(name)
    return model.path


def bundled_model_at(folder: Path) -> BundledModel | None:
    """The bundled model in a folder; None for other folders."""
    folder = folder.resolve()
    return next((model for model in BUNDLED_MODELS.values() if model.path.resolve() == folder), None)
