"""Statistics of a set of sampled replies: the variety and the length that adversarial tuning must not lose."""

import random
from collections import Counter
from collections.abc import Sequence

from turnwise.text.word_tokens import count_ngrams, is_cjk, split_words

NUM_OTHERS = 10  # replies that each reply is compared with


def distinct_2(texts: Sequence[str]) -> float:
    """Distinct word pairs divided by all word pairs (Li et al. 2016)."""
    counts: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        counts.update(count_ngrams(split_words(text), 2))
    return len(counts) / max(1, counts.total())


def self_bleu(texts: Sequence[str], seed: int = 0) -> float:
    """Mean BLEU-4 of each reply against some of the others, 0 to 100 (Zhu et al. 2018)."""
    from sacrebleu.metrics.bleu import BLEU

    if len(texts) < 2:
        return 0.0
    scorer = BLEU(tokenize="zh" if is_cjk(texts) else "13a", effective_order=True)
    rng, scores = random.Random(seed), []
    for number, text in enumerate(texts):
        others = [*texts[:number], *texts[number + 1 :]]
        chosen = rng.sample(others, min(NUM_OTHERS, len(others)))
        scores.append(scorer.sentence_score(text, chosen).score if text.strip() else 0.0)
    return sum(scores) / len(scores)


def mean_words(texts: Sequence[str]) -> float:
    """Mean number of words."""
    return sum(len(split_words(text)) for text in texts) / max(1, len(texts))


def chrf(texts: Sequence[str], references: Sequence[str]) -> float:
    """Corpus chrF of replies against references, 0 to 100 (Popović 2015)."""
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF().corpus_score(list(texts), [list(references)]).score)
