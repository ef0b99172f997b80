"""The one renderer: messages to token ids, an assistant mask and the span of every message."""
