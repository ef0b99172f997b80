"""ASGI middleware: access log, API keys, concurrency limits, draining, CORS, security headers."""
