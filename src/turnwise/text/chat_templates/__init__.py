"""Chat templates: Jinja programs that render messages as text, in a sandbox with a budget."""
