"""Texts of the findings of a data check: severity, message and advice of every kind."""

from dataclasses import dataclass

from turnwise.data.check_report import Severity


@dataclass(frozen=True, slots=True)
class FindingText:
    """Texts of a kind of finding.

    Attributes:
        severity: how much it matters.
        message: a format string with the fields that `DataChecker.report` fills in.
        advice: what to do.
        singular: the message if it was found once; empty: the same.
    """

    severity: Severity
    message: str
    advice: str
    singular: str = ""


# By kind, in the order of the report.
FINDING_TEXTS: dict[str, FindingText] = {
    "bad rows": FindingText(
        "problem",
        "{count:,} rows cannot be read.",
        "Correct them, or skip them with --skip-bad-rows, as runs of a server do.",
        singular="1 row cannot be read.",
    ),
    "no assistant turn": FindingText(
        "problem",
        "{count:,} dialogues have no assistant turn to train on.",
        "Check the roles. Training skips these dialogues.",
        singular="1 dialogue has no assistant turn to train on.",
    ),
    "unread columns": FindingText(
        "warning",
        "These columns hold text that is not used: {unread}.",
        "If they belong to the dialogue, set their meaning with --columns, such as --columns system=NAME.",
    ),
    "text, not dialogues": FindingText(
        "note",
        "{count:,} rows are plain text.",
        "Only language modelling (`train --objective clm`) trains on plain text; fine-tuning needs dialogues.",
        singular="1 row is plain text.",
    ),
    "looks like a chat": FindingText(
        "warning",
        "{count:,} plain texts look like chats with unknown speakers.",
        "Name the speakers with --role NAME=assistant or --assistant-name NAME, or set the format with --format.",
        singular="1 plain text looks like a chat with unknown speakers.",
    ),
    "leaks": FindingText(
        "problem",
        "{count:,} rows also occur in {against}, ignoring case, punctuation and spaces.",
        "Remove them from the training data, or split again with `turnwise data split`; otherwise scores are too high.",
        singular="1 row also occurs in {against}, ignoring case, punctuation and spaces.",
    ),
    "shared openings": FindingText(
        "note",
        "{count:,} further dialogues start with a user turn that also occurs in {against}.",
        "Harmless for greetings. For questions, split by topic: `turnwise data split --group-by KEY`.",
        singular="1 further dialogue starts with a user turn that also occurs in {against}.",
    ),
    "exact duplicates": FindingText(
        "warning",
        "{count:,} rows repeat an earlier row.",
        "Remove the duplicates, unless they should count more in training.",
        singular="1 row repeats an earlier row.",
    ),
    "near duplicates": FindingText(
        "note",
        "{count:,} rows differ from an earlier row only in case, punctuation, spaces or system prompt.",
        "Harmless in small numbers. `turnwise data split` keeps them in the same split.",
        singular="1 row differs from an earlier row only in case, punctuation, spaces or system prompt.",
    ),
    "no user turn": FindingText(
        "warning",
        "{count:,} dialogues have assistant turns but no user turn.",
        "Check the roles. These dialogues teach the model to talk without being asked.",
        singular="1 dialogue has assistant turns but no user turn.",
    ),
    "ends on a user turn": FindingText(
        "note",
        "{count:,} dialogues end on a user turn.",
        "No action needed. Training ignores a last turn without a reply.",
        singular="1 dialogue ends on a user turn.",
    ),
    "placeholders": FindingText(
        "warning",
        "{count:,} rows hold placeholders such as {placeholders}.",
        "Fill them in or remove them; otherwise the model will repeat them literally.",
        singular="1 row holds placeholders such as {placeholders}.",
    ),
    "very long": FindingText(
        "note",
        "{count:,} rows have more than {outlier:,} characters; the median is {median:,}.",
        "Inspect them. Training truncates rows that exceed the model's context.",
        singular="1 row has more than {outlier:,} characters; the median is {median:,}.",
    ),
}
