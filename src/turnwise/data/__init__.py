"""Reads and writes conversations and documents in any common format; checks and splits data sets."""
