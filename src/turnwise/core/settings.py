"""Settings from environment variables. All other settings are command-line flags."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Locations of Turnwise's data."""

    home: Path

    @classmethod
    def from_environment(cls) -> "Settings":
        """`TURNWISE_HOME`, else `$XDG_DATA_HOME/turnwise`, else `~/.local/share/turnwise`."""
        if home := os.environ.get("TURNWISE_HOME"):
            return cls(Path(home).expanduser())
        data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return cls(Path(data).expanduser() / "turnwise")

    @property
    def store_url(self) -> str:
        """Default URL of the conversation store (see `--store`)."""
        return f"sqlite:///{self.home / 'conversations.db'}"

    @property
    def models(self) -> Path:
        """Folder of the models that `turnwise models pull` stores."""
        return self.home / "models"

    @property
    def gguf(self) -> Path:
        """Folder of the configs and tokenizers that were converted from GGUF files."""
        return self.home / "gguf"

    @property
    def knowledge(self) -> Path:
        """Folder of the knowledge bases, one folder each."""
        return self.home / "knowledge"

    @property
    def datasets(self) -> Path:
        """Folder of the data sets that people upload, one file each."""
        return self.home / "datasets"

    @property
    def versions(self) -> Path:
        """Folder of the model versions that `turnwise improve` trains."""
        return self.home / "versions"

    @property
    def runs(self) -> Path:
        """Folder of the trainings and evaluations that the page `/runs` starts, one folder each."""
        return self.home / "runs"

    @property
    def registry_url(self) -> str:
        """URL of the registry of model versions."""
        return f"sqlite:///{self.home / 'versions.db'}"

    @property
    def gate_rules(self) -> Path:
        """File of the user's changes to the rules of the gate; it need not exist."""
        return self.home / "gate.yaml"

    @property
    def improve_settings(self) -> Path:
        """File of the user's settings of the loop; it need not exist."""
        return self.home / "improve.yaml"

    @property
    def keys_url(self) -> str:
        """URL of the API keys: `TURNWISE_KEYS`, else a file in `home`."""
        return os.environ.get("TURNWISE_KEYS") or f"sqlite:///{self.home / 'keys.db'}"

    @property
    def evaluations_url(self) -> str:
        """URL of the response cache: `TURNWISE_EVALUATIONS`, else a file in `home`."""
        return os.environ.get("TURNWISE_EVALUATIONS") or f"sqlite:///{self.home / 'evaluations.db'}"

    @property
    def monitor_url(self) -> str:
        """Default URL of the store of the text monitor (see `turnwise monitor --db`)."""
        return f"sqlite:///{self.home / 'monitor.db'}"
