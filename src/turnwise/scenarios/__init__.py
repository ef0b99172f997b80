"""Scenarios as data: instruction, intents, templates, facts, examples, safety lines, knowledge and tests in a folder.

A scenario is a folder of YAML files (see the modules `settings`, `intents`, `slots`, `facts`, `spoken_lines` and
`dialogues` for their keys) and documents. Nothing in it is executed. `loader.load_scenario` reads one folder,
`scenario_library.ScenarioLibrary` serves several and notices edits, `checks` reports what does not fit together.
"""
