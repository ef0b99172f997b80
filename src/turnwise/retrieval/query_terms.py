"""Terms of a question, with the weight of words that only make it a question.

Documents rarely have "how", "do I" or 怎么, so their inverse document frequency is high, and they would decide on the
ranking. They are not removed: a question may have no other words, and "The Who" is a band.
"""

import re

from turnwise.retrieval.terms import cut_chinese, fold, han_runs, split_terms

FUNCTION_WEIGHT = 0.3  # tuned with benchmarks/retrieval_quality.py
_ENGLISH_WORDS = """
a an and any anybody anyone are as at be been but by could did do does for from had has have how i if in into is its me
my of on or our please should so some somebody someone than that the their them then there they this to was we were what
when where which who whom whose why with would you your
"""
_CHINESE_WORDS = """
的 地 得 了 着 过 吗 呢 吧 啊 呀 么 嘛 是 在 有 和 与 或 把 被 让 给 我 你 您 他 她 它 我们 你们 他们 这 那 这个 那个
请 请问 谁 什么 什么样 怎么 怎么样 怎么办 怎样 如何 为什么 为何 为啥 哪 哪个 哪些 哪里 哪儿 哪位 哪种 哪家 哪年
多少 几 几个 是否 能否 是不是 有没有 能不能 可不可以 可以 能 想 要 会 就 都 也 还
"""
_ENGLISH, _CHINESE = frozenset(_ENGLISH_WORDS.split()), frozenset(_CHINESE_WORDS.split())
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


def weighted_terms(query: str) -> dict[str, float]:
    """The terms of a query in their order, with weights of 1, or `FUNCTION_WEIGHT` for those of function words.

    A bigram of Chinese characters that crosses the boundary of a function word has the weight of the function word.
    """
    terms = dict.fromkeys(split_terms(query), FUNCTION_WEIGHT)
    return terms | dict.fromkeys(split_terms(_remove_function_words(fold(query))), 1.0)


def _remove_function_words(folded: str) -> str:
    text = _WORD.sub(lambda match: " " if match.group() in _ENGLISH else match.group(), folded)
    for run in sorted(set(han_runs(text)), key=len, reverse=True):
        words = [" " if word in _CHINESE else word for word in cut_chinese(run)]
        text = text.replace(run, "".join(words))
    return text
