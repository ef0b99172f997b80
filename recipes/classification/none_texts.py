"""Texts of no intent of customer service, from sets with other intents.

Intents that customers of a shop could have as well are left out: such texts would teach a classifier to refuse them.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from turnwise.data.annotations.annotated import LabeledText
from turnwise.data.annotations.source import AnnotationSource

# Intents of CLINC150 that are similar to one of customer service, such as "order" and "place_order".
SIMILAR_TEXT = """
    account_blocked application_status are_you_a_bot bill_balance bill_due cancel cancel_reservation card_declined
    change_user_name damaged_card freeze_account min_payment new_card order order_checks order_status pay_bill
    pin_change redeem_rewards replacement_card_duration report_fraud report_lost_card spending_history transactions
    user_name what_can_i_ask_you
"""
SIMILAR_INTENTS = frozenset(SIMILAR_TEXT.split())
OUT_OF_SCOPE = "oos"


def read_none_texts(clinc150: Path, per_intent: int, seed: int) -> list[str]:
    """Training texts of CLINC150: up to `per_intent` of every intent that is not similar, and all of none of them."""
    texts_by_intent = defaultdict(list)
    for text, intent in _read_rows(clinc150 / "train.csv.gz"):
        if intent not in SIMILAR_INTENTS:
            texts_by_intent[intent].append(text)
    rng = random.Random(seed)
    texts = []
    for intent, texts_of_intent in sorted(texts_by_intent.items()):
        rng.shuffle(texts_of_intent)
        texts += texts_of_intent if intent == OUT_OF_SCOPE else texts_of_intent[:per_intent]
    return texts


def read_out_of_scope(clinc150: Path) -> list[str]:
    """Validation texts of CLINC150 that belong to none of its intents."""
    return [text for text, intent in _read_rows(clinc150 / "valid.csv.gz") if intent == OUT_OF_SCOPE]


def _read_rows(path: Path) -> Iterable[tuple[str, str]]:
    return [(text.text, text.labels[0]) for text in AnnotationSource(path).read() if isinstance(text, LabeledText)]
