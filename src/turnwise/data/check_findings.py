"""Texts of the findings of a data check: severity, message and advice of every kind."""

from dataclasses import dataclass

from turnwise.data.check_report import Severity


@dataclass(frozen=True, slots=True)
class FindingText:
    """Texts of a kind of finding. `message` is a format string with the fields that `DataChecker.report` fills in."""

    severity: Severity
    message: str
    advice: str


# By kind, in the order of the report.
FINDING_TEXTS: dict[str, FindingText] = {
    "bad rows": FindingText(
        "problem",
        "{count:,} rows cannot be read.",
        "Correct them, or skip them with --skip-bad-rows, as runs of a server do.",
    ),
    "no assistant turn": FindingText(
        "problem",
        "{count:,} dialogues have no assistant turn to train on.",
        "Check the roles. Training skips these dialogues.",
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
    ),
    "looks like a chat": FindingText(
        "warning",
        "{count:,} plain texts look like chats with unknown speakers.",
        "Name the speakers with --role NAME=assistant or --assistant-name NAME, or set the format with --format.",
    ),
    "leaks": FindingText(
        "problem",
        "{count:,} rows also occur in {against}, ignoring case, punctuation and spaces.",
        "Remove them from the training data, or split again with `turnwise data split`; otherwise scores are too high.",
    ),
    "shared openings": FindingText(
        "note",
        "{count:,} further dialogues start with a user turn that also occurs in {against}.",
        "Harmless for greetings. For questions, split by topic: `turnwise data split --group-by KEY`.",
    ),
    "exact duplicates": FindingText(
        "warning",
        "{count:,} rows repeat an earlier row.",
        "Remove the duplicates, unless they should count more in training.",
    ),
    "near duplicates": FindingText(
        "note",
        "{count:,} rows differ from an earlier row only in case, punctuation, spaces or system prompt.",
        "Harmless in small numbers. `turnwise data split` keeps them in the same split.",
    ),
    "no user turn": FindingText(
        "warning",
        "{count:,} dialogues have assistant turns but no user turn.",
        "Check the roles. These dialogues teach the model to talk without being asked.",
    ),
    "ends on a user turn": FindingText(
        "note",
        "{count:,} dialogues end on a user turn.",
        "No action needed. Training ignores a last turn without a reply.",
    ),
    "placeholders": FindingText(
        "warning",
        "{count:,} rows hold placeholders such as {placeholders}.",
        "Fill them in or remove them; otherwise the model will repeat them literally.",
    ),
    "very long": FindingText(
        "note",
        "{count:,} rows have more than {outlier:,} characters; the median is {median:,}.",
        "Inspect them. Training truncates rows that exceed the model's context.",
    ),
}
