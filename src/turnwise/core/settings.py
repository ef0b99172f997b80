"""Settings that a person gives once through the environment; everything else is a flag."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Where Turnwise keeps its things."""

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
        """Where conversations are kept unless `--store` says otherwise."""
        return f"sqlite:///{self.home / 'conversations.db'}"

    @property
    def keys_file(self) -> Path:
        """Where API keys are kept."""
        return self.home / "keys.db"
