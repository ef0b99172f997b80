"""Consent of requests: the strictest of the server's, the API key's and the request's own holds."""

from dataclasses import dataclass

from turnwise.core.collected_answers import Consent, stricter_consent
from turnwise.server.request_context import current_request


@dataclass(frozen=True, slots=True)
class ConsentPolicy:
    """The most that a server collects. Without API keys, the machine is that of its only user."""

    maximum: Consent = "full"

    def of_request(self, requested: Consent | None = None) -> Consent:
        """The consent of the current request; `requested` is its field `collect`."""
        key = current_request().key
        allowed = self.maximum if key is None else stricter_consent(self.maximum, key.consent)
        return allowed if requested is None else stricter_consent(allowed, requested)
