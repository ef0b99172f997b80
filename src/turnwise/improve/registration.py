"""Adds a trained model to the registry, with all that is needed to train it again."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnwise.app.model_versions.version_library import VersionLibrary
from turnwise.core.files import atomic_directory
from turnwise.core.model_versions import ModelVersion, NewVersion
from turnwise.improve.training_data import PLAN_FILE, read_contributors
from turnwise.models.model_folders import weights_digest

TRAINING = "training"  # folder of the training data in that of a version
