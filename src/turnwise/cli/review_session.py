"""A review in the terminal: shows one answer after the other and reads the verdicts."""

import time
from collections import deque
from collections.abc import Callable, Sequence

import typer

from turnwise.cli.console_output import one_line
from turnwise.core.collected_answers import CollectedAnswer
from turnwise.core.errors import TurnwiseError
from turnwise.core.feedback import FEEDBACK_TAGS, AnswerReference, NewFeedback
from turnwise.core.review import ReviewAgreement, ReviewItem
from turnwise.core.stored_conversations import ConversationStore

FIRST_BATCH = 20  # answers that are read from the queue together
SHOWN_MESSAGES = 6  # of the history
MAX_SHOWN_CHARS = 2000  # of a message
REASONS = {
    "disagreement": "People disagree about this answer.",
    "disliked": "Somebody did not like this answer.",
    "uncertain": "The model was uncertain.",
    "off_topic": "The question was taken as off topic.",
}
KEYS = "[g]ood  [b]ad  [c]orrect  [s]kip  [q]uit  1-9 reasons"


class ReviewSession:
    """Verdicts of one reviewer.

    Args:
        store: conversation store.
        reviewer: name of the reviewer.
        read_key: returns a pressed key. Default: reads from the terminal, or a line from standard input.
        read_line: returns a line of text.
    """

    def __init__(
        self,
        store: ConversationStore,
        reviewer: str,
        *,
        read_key: Callable[[], str] | None = None,
        read_line: Callable[[], str] = input,
    ) -> None:
        self._store, self._reviewer = store, reviewer
        self._read_key, self._read_line = read_key or _key_reader(), read_line
        self._seen: set[str] = set()
        self._unrated: set[str] = set()  # were shown and are still in the queue
        self._waiting: deque[ReviewItem] = deque()
        self._batch_size = FIRST_BATCH

    def run(self, limit: int) -> int:
        """Show up to `limit` answers and store the verdicts. Returns their number."""
        start, count = time.monotonic(), 0
        for _ in range(limit):
            item = self._next()
            if item is None:
                typer.echo("No answer waits for a verdict.")
                break
            self._show(item)
            try:
                content = self._ask(item)
            except (EOFError, KeyboardInterrupt):
                break
            if content is not None:
                count += self._save(item, content)
        if count:
            pace = 3600 * count / max(time.monotonic() - start, 1e-3)
            typer.echo(f"{count:,} reviewed, {pace:,.0f} per hour.")
        return count

    def _next(self) -> ReviewItem | None:
        """The first answer of the queue that was not shown yet; skipped ones stay in the queue."""
        if not self._waiting:
            # Each batch is twice as large as the one before, so that the queue is read a few times only.
            items = self._store.review_queue.next(self._reviewer, limit=len(self._unrated) + self._batch_size)
            self._waiting.extend(item for item in items if item.answer.id not in self._seen)
            self._batch_size *= 2
        if not self._waiting:
            return None
        item = self._waiting.popleft()
        self._seen.add(item.answer.id)
        self._unrated.add(item.answer.id)
        return item

    def _show(self, item: ReviewItem) -> None:
        answer = item.answer
        typer.secho(f"\n{REASONS[item.reason]}  {_describe(item)}", dim=True)
        hidden = len(answer.history) - SHOWN_MESSAGES
        if hidden > 0:
            typer.secho(f"({hidden} earlier messages)", dim=True)
        for message in answer.history[-SHOWN_MESSAGES:]:
            typer.echo(f"{message.role}: {_printable(message.full_text)}")
        typer.secho(f"{answer.answer.role}: {_printable(answer.answer.full_text)}", bold=True)
        for preferred in answer.preferred:
            typer.secho(f"suggested instead: {one_line(preferred.answer.content)}", dim=True)

    def _ask(self, item: ReviewItem) -> NewFeedback | None:
        """Read keys until a verdict; None to skip. Raises EOFError to quit."""
        tags: list[str] = []
        while True:
            chosen = f"  ({', '.join(tags)})" if tags else ""
            typer.echo(f"{KEYS}{chosen} > ", nl=False)
            key = self._read_key().strip().lower()[:1]
            typer.echo(key)
            if key == "q":
                raise EOFError
            if key == "s":
                return None
            if key in ("g", "b"):
                return self._verdict(1 if key == "g" else -1, tags)
            if key == "c":
                typer.echo("It should have said (empty: back): ", nl=False)
                text = self._read_line().strip()
                if text and text != item.answer.answer.content:
                    return self._verdict(-1, tags, text)
            elif key.isdecimal() and key != "0":
                tag = FEEDBACK_TAGS[int(key) - 1]
                tags.remove(tag) if tag in tags else tags.append(tag)
            else:
                names = "  ".join(f"{number} {tag}" for number, tag in enumerate(FEEDBACK_TAGS[:9], 1))
                typer.secho(f"Reasons: {names}", dim=True)

    def _verdict(self, rating: int, tags: Sequence[str], correction: str | None = None) -> NewFeedback:
        return NewFeedback(rating, correction, tags=tuple(tags), user=self._reviewer, role="reviewer")

    def _save(self, item: ReviewItem, content: NewFeedback) -> bool:
        try:
            self._store.feedback.add(AnswerReference.parse(item.answer.id), content)
        except TurnwiseError as error:  # the conversation was deleted meanwhile
            typer.secho(f"Not stored: {error}", fg=typer.colors.RED, err=True)
            return False
        self._unrated.discard(item.answer.id)
        return True


def print_agreement(agreements: Sequence[ReviewAgreement]) -> None:
    """Print the agreement of each two reviewers."""
    for agreement in agreements:
        kappa = "not defined" if agreement.kappa is None else f"{agreement.kappa:.2f}"
        names = " and ".join(one_line(reviewer, 60) for reviewer in agreement.reviewers)
        typer.echo(f"{names}: {agreement.share:.0%} of {agreement.num_answers:,} equal, Cohen's kappa {kappa}.")
    if not agreements:
        typer.echo("No two reviewers have rated the same answer yet.")


def _describe(item: ReviewItem) -> str:
    answer: CollectedAnswer = item.answer
    good = sum(rating.value > 0 for rating in answer.ratings)
    figures = [answer.model, f"{good} good, {len(answer.ratings) - good} bad"]
    if item.mean_logprob is not None:
        figures.append(f"mean log-probability {item.mean_logprob:.2f}")
    return " · ".join(filter(None, figures))


def _printable(text: str) -> str:
    """A text without characters that a terminal obeys."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text[:MAX_SHOWN_CHARS])


def _key_reader() -> Callable[[], str]:
    """Reads single keys from a terminal, and lines otherwise."""
    import sys

    return typer.getchar if sys.stdin.isatty() else input
