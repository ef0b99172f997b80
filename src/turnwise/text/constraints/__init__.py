"""Constraints on answers: grammars, JSON schemas, tool calls, stop strings, bad words."""
