"""The models of one cycle: the versions that it starts from, and the folders of those that it trains."""

from dataclasses import dataclass
from pathlib import Path

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.model_versions import ModelVersion
from turnwise.improve.build import interpolate_model
from turnwise.improve.journal import Journal


@dataclass(frozen=True, slots=True)
class CycleModels:
    """Finds the models of a cycle. A trained model has the name of its proof, or `VERSION`.

    Attributes:
        model: served model name.
        library: versions of models.
        journal: journal of the cycle.
    """

    model: str
    library: VersionLibrary
    journal: Journal

    @property
    def first(self) -> ModelVersion:
        """The first version, which the training starts from."""
        return self.library.registry.get(self.model, self.journal["first"])

    @property
    def serving(self) -> ModelVersion:
        """The version that served when the cycle started."""
        return self.library.registry.get(self.model, self.journal["serving"])

    def verified_first(self) -> Path:
        """Folder of the first version. Raises as `VersionLibrary.verified_folder` does."""
        return self.library.verified_folder(self.first)

    def verified_serving(self) -> Path:
        """Folder of the serving version. Raises as `VersionLibrary.verified_folder` does."""
        return self.library.verified_folder(self.serving)

    def training_data(self, name: str) -> Path:
        """Folder of the training data of a model."""
        return self.journal.folder / f"{name}-data"

    def trained(self, name: str) -> Path:
        """Folder of a trained model."""
        return self.journal.folder / name

    def interpolated(self, name: str, alpha: float) -> Path:
        """Folder of a model at the share `alpha` of the way to the trained weights; it is made if it is missing."""
        trained = self.trained(name)
        return interpolate_model(self.training_data(name), trained, alpha, trained.with_name(f"{name}-{alpha:g}"))
