"""Template grammars: YAML rules that expand into synthetic dialogues."""
