"""Token ids to text while they arrive: detokenizer, stop strings, tool-call parser."""
