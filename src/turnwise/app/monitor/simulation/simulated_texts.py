"""Short invented posts about invented companies, and edited copies of them."""

import numpy as np

COMPANIES = (
    "Norvane", "Altibra", "Quelmont", "Ferrodyne", "Halvex", "Brightmoor", "Ostrava Line", "Kelpworks", "Junipera",
    "Tessaro", "Vantor Foods", "Mirelle", "Oakhelm", "Sundra Energy", "Polarquay", "Dravik", "Lumenta", "Carrowbank",
    "Zephyrine", "Indaro", "Hexlane", "Bellwick", "Corvane", "Astrogale", "Wendrake",
)  # fmt: skip
_OPENINGS = (
    "Just read the filing of", "My thoughts on", "Watching", "Anyone else following", "Spent the evening on",
    "Long thread about", "Quick take on", "Talked to a supplier of", "New note on", "Back to my notes on",
    "Reading the transcript of", "Colleague sent me the report of", "Third look at", "Customer survey for",
    "Asked around about", "Channel check on", "Lunch break chart of", "My father still holds",
)  # fmt: skip
_CLAIMS = {
    "positive": (
        "orders grow again", "margins look better than feared", "the new plant runs at capacity", "guidance goes up",
        "cash flow finally turns", "the backlog is at a record", "pricing power is real", "management buys stock",
        "churn falls", "the upgrade cycle has begun", "this is still cheap", "the launch sells out",
    ),
    "neutral": (
        "the meeting is next week", "nothing new in the numbers", "the chart goes sideways", "results come in May",
        "the board has a new member", "they move the head office", "volume is average", "still waiting for details",
        "the split is on schedule", "same guidance as before", "the index weight stays", "two analysts start coverage",
    ),
    "negative": (
        "the recall gets worse", "guidance is gone", "inventories pile up", "the auditor resigns", "margins collapse",
        "customers cancel orders", "the lawsuit is serious", "debt comes due soon", "insiders are selling",
        "the product does not work", "another profit warning is coming", "regulators look into it",
    ),
}  # fmt: skip
_REASONS = (
    "says the logistics desk", "if the channel is right", "according to the footnotes", "after the call with investors",
    "as the regional data shows", "which few people expected", "and the options market agrees",
    "for the second quarter",
    "in spite of the weather", "since the strike ended", "at least in the southern region", "despite higher freight",
    "compared with last spring", "once you strip out leases", "and competitors confirm it", "judging by job adverts",
    "as far as I can tell", "going by the web traffic", "and the credit desk noticed", "before the holiday season",
)  # fmt: skip
_ENDINGS = (
    "target {n}", "I see {n} by autumn", "fair value near {n}", "closed at {n}", "stop at {n}", "bought {n} shares",
    "sold {n} shares", "not advice", "thoughts?", "will add on weakness", "staying out", "holding for now",
    "more after the close", "small position", "see you at {n}",
)  # fmt: skip
_TAGS = ("#stocks", "#investing", "#markets", "#trading")


def compose_post(rng: np.random.Generator, company: str, sentiment: str) -> str:
    """Write a post about a company with a sentiment: "positive", "neutral" or "negative"."""
    opening, claim, reason, ending = (
        phrases[rng.integers(len(phrases))] for phrases in (_OPENINGS, _CLAIMS[sentiment], _REASONS, _ENDINGS)
    )
    ending = ending.format(n=int(rng.integers(10, 999)))
    link = f" https://example.com/{_slug(rng)}" if rng.random() < 0.3 else ""
    return f"{opening} {company}: {claim} {reason}, {ending}{link}"


def edit_copy(rng: np.random.Generator, text: str) -> str:
    """Pass a post on as people do: repeated with a prefix, with other links, hashtags, case and a typing error."""
    if rng.random() < 0.5:
        text = f"RT @user{rng.integers(1000)}: {text}"
    if rng.random() < 0.3:
        text = f"{text.split(' https://')[0]} https://example.org/{_slug(rng)}"
    if rng.random() < 0.2:
        text = _misspell(rng, text)
    if rng.random() < 0.2:
        text = text.upper()
    if rng.random() < 0.3:
        text = f"{text} {_TAGS[rng.integers(len(_TAGS))]}"
    return text


def _slug(rng: np.random.Generator) -> str:
    return f"{int(rng.integers(16**8)):08x}"


def _misspell(rng: np.random.Generator, text: str) -> str:
    """Exchange two letters inside a word of at least five letters."""
    words = text.split(" ")
    candidates = [index for index, word in enumerate(words) if len(word) >= 5 and word.isalpha()]
    if not candidates:
        return text
    index = candidates[rng.integers(len(candidates))]
    word = words[index]
    position = int(rng.integers(1, len(word) - 2))
    words[index] = word[:position] + word[position + 1] + word[position] + word[position + 2 :]
    return " ".join(words)
