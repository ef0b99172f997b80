"""Turnwise: dialogues in, a chat-completion service out, and a service that keeps getting better."""

__version__ = "0.1.0"
