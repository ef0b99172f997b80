"""ASGI middleware. Not Starlette's `BaseHTTPMiddleware`: it hides a client's disconnect from the routes."""
