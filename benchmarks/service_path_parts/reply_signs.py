"""Recognises what a reply does by its words: it does not know, declines, offers a person, asks for something.

The signs are broad on purpose, because systems without decisions are judged by their text alone. Texts are in the form
of `normalize`.
"""

import re
import unicodedata

_CITATION = re.compile(r"\s*\[\d+\]")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})
_OPEN_CLAUSE = re.compile(
    r"\b(?:whether|if|when|where|who|which|what|how|that)\b[^,.;!?\n]*|"
    r"(?:不清楚|不知道|不(?:太)?确定|不了解|无法确认)[^,。;!?\n]*",
    re.IGNORECASE,
)
_QUOTED = re.compile(r'"[^"]*"')
_GREETING = re.compile(
    r"^(?:hi|hello|hey|dear \w+|thank you[^.!,]*|thanks[^.!,]*|(?:i am|i'm|we are|we're) (?:so |very )?sorry[^.!,]*|"
    r"sorry[^.!,]*|unfortunately|well|您好|你好|(?:非常|很|十分)?抱歉|对不起|不好意思|谢谢[^。!,]*)(?![\w'])[\s,.!:;、。~-]*|"
    r"^(?:您好|你好|(?:非常|很|十分)?抱歉|对不起|不好意思)[\s,.!:;、。~-]*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。?!;])(?=[\u4e00-\u9fff])|(?<=。)|\n+")
_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[a-z]{2,}", re.IGNORECASE)

UNSURE = re.compile(
    r"\b(?:i|we)(?:'m| am|'re| are)? (?:really |currently |also |just |simply )?(?:do not|don't|did not|didn't|cannot|"
    r"can't|could not|couldn't|not) (?:have (?:any |reliable |that |this |the |enough |specific |such |more |further )*"
    r"(?:information|info|details?|data|answer|record)|know|find|tell|say|sure|certain|aware|able to (?:tell|say|find|"
    r"confirm|answer)|answer|confirm|verify)|"
    r"\b(?:i|we) (?:have|know) (?:no|nothing)\b|\bno (?:reliable |specific )?information\b|\bnot sure\b|"
    r"\b(?:is|are|isn't|aren't|was|does) ?(?:not|n't)? ?(?:not )(?:mention|state|list|cover|specif|include)\w* in\b|"
    r"\bunsure\b|"
    r"不清楚|不知道|不(?:太)?确定|不了解|没有.{0,8}(?:资料|信息|说明|记录|内容|数据)|资料(?:里|中)?(?:没|未)|查不到|"
    r"无法(?:确认|回答|查|得知|告诉|提供)|不能(?:确认|确定|回答)|没有提(?:到|及)|未提(?:到|及)",
    re.IGNORECASE,
)
DECLINES = re.compile(
    r"\b(?:i|we)(?:'m| am|'re| are)? (?:\w+ly )?(?:do not|don't|cannot|can't|can not|could not|couldn't|will not|won't|"
    r"must not|may not|not able|not allowed|not in a position|unable|have no|never|no longer|only)\b|"
    r"\b(?:it is|it's|this is|that is|that's|they are) (?:not|no)\b|\bthere (?:is|are) no\b|"
    r"\b(?:is|are) not (?:possible|available|allowed|permitted)\b|\bonly (?:sells?|offers?|carr(?:y|ies))\b|"
    r"\b(?:decline|refuse|prices are (?:fixed|final))|\bno discounts?\b|\boutside (?:of )?(?:my|our|what)\b|"
    r"无法|没法|不(?:能|可以|便|会|方便)(?:为|给|向|替)?(?:您|你)?(?:提供|透露|给|查|帮|打折|优惠|保证|答应|承诺|公开|说|执行|更改|"
    r"告诉|泄露|做|写|回应|这样)|不(?:卖|提供|出售|经营|支持|接受|销售|议价|讲价)|没有(?:卖|出售|权限|折扣|优惠|这个|这项)|只(?:卖|经营|能回答|回答|"
    r"处理)|爱莫能助|恕",
    re.IGNORECASE,
)
HAND_OFF = re.compile(
    r"\b(?:hand|handing|pass|passing|forward|forwarding|connect|connecting|transfer|transferring|put|putting|refer|"
    r"referring|escalat\w+|ask|asking)\b.{0,50}\b(?:colleagues?|person|agent|team|human|someone|staff|representative)\b|"
    r"\bcolleagues?\b|\b(?:contact|write to|call|e-?mail|phone|reach) (?:us|our|help@)|help@fernhold|7946[ -]?0182|"
    r"转(?:给|接|到|交)?.{0,6}(?:人工|同事|客服|专员)|(?:人工|同事|专员).{0,12}(?:联系|回复|处理|接手|跟进|看)|(?:联系|致电|拨打).{0,8}"
    r"(?:我们|客服|热线|电话)",
    re.IGNORECASE,
)
REQUEST = re.compile(
    r"\?|\b(?:may i|could you|can you|would you|please (?:tell|give|send|provide|share|let|state|enter|specify)|"
    r"what(?:'s| is) (?:your|the)|which|i(?:'ll)? need (?:your|the|to know)|tell me)\b|"
    r"请(?:您)?(?:先)?(?:告诉|提供|发|给|说|问)|麻烦|多少号|是多少|哪个|哪一",
    re.IGNORECASE,
)
SLOT_WORDS = {
    "order_number": re.compile(r"order (?:number|no\b|id)|订单(?:号|编号)|单号", re.IGNORECASE),
    "size": re.compile(
        r"\b(?:which|what) size|\bsize (?:would|do) you|哪个(?:尺码|码|号)|什么(?:尺码|码)|多大的?码", re.IGNORECASE
    ),
}
SLOT_VALUES = {
    "order_number": re.compile(r"(?<!\d)(?:fh[- ]?)?\d{6}(?!\d)", re.IGNORECASE),
    "size": re.compile(
        r"(?<!['\w])(?<!\d )(?:small|medium|large|xl|[sml])\b|[小中大特]号|加大|[小中大]码", re.IGNORECASE
    ),
}


def normalize(text: str) -> str:
    """Form NFKC with straight quotes, without citations, emphasis and greetings at the start."""
    plain = _CITATION.sub("", unicodedata.normalize("NFKC", text).translate(_QUOTES)).replace("**", "").strip()
    while (rest := _GREETING.sub("", plain, count=1)) != plain:
        plain = rest
    return plain


def sentences(text: str) -> list[str]:
    """The sentences of a text."""
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def substance(text: str) -> str:
    """What a reply states: its sentences without questions and without those that say it does not know."""
    stated = [entry for entry in sentences(text) if not entry.endswith("?") and UNSURE.search(entry) is None]
    return normalize("\n".join(stated))


def claims(text: str) -> str:
    """A text without what it leaves open, as in "I do not know whether …"."""
    pieces = [_OPEN_CLAUSE.sub(" ", entry) if UNSURE.search(entry) else entry for entry in sentences(text)]
    return "\n".join(pieces)


def requested_slots(text: str) -> list[str]:
    """The slots that a reply asks for. What it quotes, as in "Do you mean …", it does not ask for."""
    asked_in = [sentence for sentence in sentences(_QUOTED.sub(" ", text)) if REQUEST.search(sentence)]
    return [slot for slot, words in SLOT_WORDS.items() if any(words.search(sentence) for sentence in asked_in)]


def is_question(text: str) -> bool:
    """True if a reply ends with a question."""
    stated = sentences(text)
    return bool(stated) and stated[-1].endswith("?")


def is_in_language(text: str, language: str) -> bool:
    """True if at least half of a text's words are of the language; a Chinese character counts as half a word."""
    han, latin = len(_HAN.findall(text)) / 2, len(_LATIN_WORD.findall(text))
    return han >= latin if language == "zh" else latin >= han
