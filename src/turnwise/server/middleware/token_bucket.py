"""Rate limiter of one API key."""


class TokenBucket:
    """A token bucket: it holds a minute's worth of requests and refills evenly."""

    def __init__(self, requests_per_minute: int, now: float) -> None:
        self.requests_per_minute, self._tokens, self._updated_at = requests_per_minute, float(requests_per_minute), now

    def take(self, now: float) -> float:
        """Take a token. Returns 0 on success, else the seconds until there is one."""
        refill = (now - self._updated_at) * self.requests_per_minute / 60
        self._tokens = min(self.requests_per_minute, self._tokens + refill)
        self._updated_at = now
        if self._tokens < 1:
            return (1 - self._tokens) * 60 / self.requests_per_minute
        self._tokens -= 1
        return 0.0
