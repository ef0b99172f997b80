"""Template grammars: YAML files that expand into synthetic dialogues."""
