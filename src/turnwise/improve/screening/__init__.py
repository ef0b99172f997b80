"""Screening of feedback before training: poisoning, contradictions and useless entries are dropped, with reasons.

Every check is a pure function from answers to a `Screened`: the answers that remain, and what was dropped.
`screen_answers` runs all of them in order.
"""
