"""Request and response bodies of the HTTP API: parsing, validation, JSON schemas."""
