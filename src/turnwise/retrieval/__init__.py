"""Documents and how passages of them are found: parsing, division into passages, lexical and dense indexes, fusion."""
