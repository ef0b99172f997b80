"""Scheduling options, the same for chat requests and engine requests."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SchedulingOptions:
    """When a request runs, and with which requests it shares the prefix cache.

    Attributes:
        tenant: owner of the request. Tenants do not share the prefix cache and are served round-robin.
        prompt_cache_key: restricts prefix-cache sharing to the tenant's requests with the same key.
        priority: order among the tenant's requests; lower values run first.
    """

    tenant: str = ""
    prompt_cache_key: str = ""
    priority: int = 0

    @property
    def cache_scope(self) -> str:
        """Namespace of the prefix cache and of the summary cache. Only requests with the same scope share entries."""
        return f"{self.tenant}\n{self.prompt_cache_key}"
