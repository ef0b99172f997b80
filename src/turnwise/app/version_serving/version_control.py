"""Changes states of versions for the routes of a server: weights are verified, and the server follows at once."""

from collections.abc import Callable

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.model_versions import ModelRegistry, ModelVersion, VersionState


class VerifiedVersionControl:
    """Promotes and rolls back as a person (implements `core.served_versions.VersionControl`)."""

    def __init__(self, get_library: Callable[[], VersionLibrary], on_change: Callable[[], None]) -> None:
        """Create the control.

        Args:
            get_library: returns the versions; raises `NotFound` while there are none.
            on_change: called after each change.
        """
        self._get_library, self._on_change = get_library, on_change

    @property
    def registry(self) -> ModelRegistry:
        """The records of the versions."""
        return self._get_library().registry

    def change_state(
        self, model: str, number: int, state: VersionState, *, reason: str, share: float = 0.0
    ) -> ModelVersion:
        """Change the state of a version. Raises as `VersionLibrary.change_state` does."""
        version = self.registry.get(model, number)
        changed = self._get_library().change_state(version, state, actor="person", reason=reason, share=share)
        self._on_change()
        return changed

    def roll_back(self, model: str, *, reason: str) -> ModelVersion:
        """Let the version serve again that served before. Raises as `VersionLibrary.roll_back` does."""
        serving = self._get_library().roll_back(model, actor="person", reason=reason)
        self._on_change()
        return serving
