"""The gate: rules that a candidate has to pass before it replaces the serving model.

`rules.yaml` holds the default rules. `rules_file.py` merges them with those of the user, `decision.py` applies them to
the reports of evaluations (`evidence.py`). Each kind of rule is a module of `rules/`.
"""
