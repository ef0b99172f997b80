"""Finds, reads and extends prompt files: `prompts/NAME.yaml` here and in TURNWISE_HOME, or a path."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from turnwise.app.prompts.prompt_file import PARAMETER, PromptFile, PromptVersion
from turnwise.core.errors import InvalidParameter, did_you_mean
from turnwise.core.files import atomic_write, path_exists
from turnwise.core.settings import Settings
from turnwise.core.strict_model import parse_strict_model
from turnwise.core.strict_yaml import read_yaml

SUFFIX = ".yaml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A version of a prompt.

    Attributes:
        name: name of the prompt.
        number: version number.
        version: the version.
    """

    name: str
    number: int
    version: PromptVersion

    @property
    def reference(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.number}"

    def render(self, values: Mapping[str, str]) -> str:
        """The prompt with its variables filled in. Raises as `PromptVersion.render`."""
        return self.version.render(values, self.reference)


@dataclass(frozen=True, slots=True)
class PromptLibrary:
    """The prompts of some folders. A name is searched in them in order.

    Attributes:
        folders: the folders; they may not exist. New prompts are written to the last one.
    """

    folders: Sequence[Path]

    @classmethod
    def default(cls) -> "PromptLibrary":
        """The folders `prompts` in the working directory and in TURNWISE_HOME."""
        return cls((Path("prompts"), Settings.from_environment().home / "prompts"))

    def paths(self) -> dict[str, Path]:
        """The file of each prompt by name, in alphabetical order."""
        files = (path for folder in reversed(self.folders) for path in sorted(folder.glob(f"*{SUFFIX}")))
        by_name = {path.stem: path for path in files}  # of the same name, the first folder's file comes last
        return dict(sorted(by_name.items()))

    def read(self, name: str) -> PromptFile:
        """Read a prompt file by name or path.

        Raises:
            InvalidParameter: there is no such prompt, or the file is invalid.
            InvalidData: the file is not YAML.
        """
        path = Path(name).expanduser() if name.endswith(SUFFIX) else self.paths().get(name)
        if path is None or not path_exists(path):
            folders = ", ".join(str(folder) for folder in self.folders)
            hint = did_you_mean(name, list(self.paths())) if self.paths() else "there are none yet."
            raise InvalidParameter(PARAMETER, f"There is no prompt '{name[:80]}' in {folders}: {hint}")
        return parse_strict_model(PromptFile, read_yaml(path, "prompt"), origin=str(path))

    def load(self, reference: str) -> Prompt:
        """A prompt by reference: NAME (the latest version), NAME@VERSION or NAME@HASH; NAME may be a path.

        Raises:
            InvalidParameter: there is no such prompt or version.
        """
        name, _, selector = reference.partition("@")
        prompts = self.read(name)
        if not selector:
            return Prompt(_stem(name), prompts.latest, prompts.versions[prompts.latest])
        for number, version in prompts.versions.items():
            if selector in (str(number), version.content_hash):
                return Prompt(_stem(name), number, version)
        numbers = ", ".join(map(str, sorted(prompts.versions)))
        raise InvalidParameter(PARAMETER, f"The prompt '{_stem(name)}' has no version '{selector}'; it has {numbers}.")

    def all(self) -> Iterator[tuple[str, PromptFile]]:
        """Every prompt by name. Raises as `read`."""
        for name in self.paths():
            yield name, self.read(name)

    def add(self, name: str, version: PromptVersion, description: str = "") -> Prompt:
        """Write a new prompt, or the next version of one. Existing versions stay as they are.

        Args:
            name: name of the prompt.
            version: the new version.
            description: what the prompt is for; empty keeps the description.

        Raises:
            InvalidParameter: the name is invalid, or a version with this content exists.
            SaveFailed: the file cannot be written.
        """
        if NAME.fullmatch(name) is None:
            raise InvalidParameter("name", f"'{name[:80]}' is no name of a prompt: use letters, digits, '.', '_', '-'.")
        path = self.paths().get(name, self.folders[-1] / f"{name}{SUFFIX}")
        versions: dict[int, PromptVersion] = {}
        if path_exists(path):
            existing = self.read(name)
            versions, description = dict(existing.versions), description or existing.description
        for number, earlier in versions.items():
            if earlier.content_hash == version.content_hash:
                raise InvalidParameter("name", f"{name}@{number} has the same text and variables.")
        number = max(versions, default=0) + 1
        versions[number] = version
        values = PromptFile(description=description, versions=versions).model_dump(exclude_defaults=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        return Prompt(name, number, version)


def _stem(name: str) -> str:
    return Path(name).stem if name.endswith(SUFFIX) else name


def parse_variables(assignments: Sequence[str]) -> dict[str, str]:
    """Values by name, from NAME=VALUE. Raises `InvalidParameter`."""
    values: dict[str, str] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name or name in values:
            raise InvalidParameter(
                "prompt_variable", f"--prompt-variable {assignment}: must be NAME=VALUE, each name once."
            )
        values[name] = value
    return values


def render_prompt(reference: str | None, assignments: Sequence[str]) -> str | None:
    """The text of the flags --prompt-template and --prompt-variable; None without a template.

    Raises:
        InvalidParameter: there is no such prompt, or a variable is unknown, missing or given without a prompt.
        TemplateError: the template fails.
    """
    values = parse_variables(assignments)
    if reference is None:
        if values:
            raise InvalidParameter("prompt_variable", "--prompt-variable needs --prompt-template.")
        return None
    return PromptLibrary.default().load(reference).render(values)
