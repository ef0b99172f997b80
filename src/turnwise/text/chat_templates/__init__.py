"""Chat templates: Jinja programs that lay messages out as text, run in a sandbox with a budget."""
