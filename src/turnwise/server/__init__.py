"""HTTP server: the OpenAI-compatible API and the chat page (`web/`). Knows no tensors."""
