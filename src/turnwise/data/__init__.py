"""Reads and writes conversations and documents in any common format; checks and splits data sets.

From a file to conversations, one module per step::

    sources → open_rows: compression → encoding → containers/ (JSON, CSV, Parquet) → formats/ (the shape of a row)
        formats/ use: columns, parse_turns, parse_tool_calls, transcripts, chat_export

What a file does not say itself comes from `read_options`. On top of `sources` stand `check` and `split`; `grammar/`
and `prompts/` generate dialogues.
"""
