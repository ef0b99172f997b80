"""A classification service: runs a classifier in a thread, tenants in rotation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from turnwise.chat.stepwise_executor import StepwiseExecutor
from turnwise.core.classification import ClassifierTask
from turnwise.core.classification_service import (
    ClassificationRequest,
    ClassificationResult,
    StepwiseClassifier,
    TaggingRequest,
    TaggingResult,
)


@dataclass(frozen=True, slots=True)
class StepwiseClassificationService:
    """Classifies or tags texts (implements `core.classification_service.ClassificationService`).

    Requests are computed in batches. Between batches the turn passes to the requests of other tenants.
    """

    name: str
    created: int
    task: ClassifierTask
    labels: Sequence[str]
    is_multi_label: bool
    max_input_tokens: int
    classifier: StepwiseClassifier
    executor: StepwiseExecutor = field(default_factory=lambda: StepwiseExecutor("classification"))

    async def classify(self, request: ClassificationRequest) -> ClassificationResult:
        """Classify texts in a thread. Errors as for `ClassificationService.classify`."""
        return await self.executor.run(request.tenant, self.classifier.classify_in_steps(request))

    async def tag(self, request: TaggingRequest) -> TaggingResult:
        """Find the labelled spans of texts in a thread. Errors as for `ClassificationService.tag`."""
        return await self.executor.run(request.tenant, self.classifier.tag_in_steps(request))
