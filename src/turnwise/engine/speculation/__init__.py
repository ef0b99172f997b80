"""Speculative decoding without a draft model: n-gram drafts and when they pay."""
