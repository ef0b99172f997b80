"""Reads and writes conversations and documents in any common format; checks and splits data sets.

From a file to conversations, one module per step::

    sources → open_rows: compression → encoding → containers/ (JSON, CSV, Parquet) → formats/ (the shape of a row)
        formats/ use: columns, parse_turns, parse_tool_calls, transcripts, chat_export

`read_options` supplies encoding, columns and speakers that a file does not declare. `check` and `split` use `sources`;
`grammar/` and `prompts/` generate dialogues.
"""
