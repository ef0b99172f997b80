"""The one renderer: messages to token ids, a loss mask and the span of every message."""
