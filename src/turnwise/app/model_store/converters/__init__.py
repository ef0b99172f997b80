"""Converters from a file format to a Hugging Face folder; the catalogue's `converter` is the name of a module here."""
