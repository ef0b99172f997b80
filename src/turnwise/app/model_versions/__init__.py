"""Versions of served models: their folders, references such as NAME@3, and what people do with them."""
