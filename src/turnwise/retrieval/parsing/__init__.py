"""What the parsers share: recognition of formats, encodings, tables, HTML, the layout of pages, archives and limits."""
