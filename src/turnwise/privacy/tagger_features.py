"""Tokens of a text and their features, for the tagger of names and addresses.

A token is a word of letters, a number, a Chinese character, a placeholder such as `[NAME_1]`, a line break or another
character. The features of a token are hashed words around it, shapes, affixes and list memberships, in the style of
Ratinov & Roth (2009).
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from zlib import crc32

PLACEHOLDER = re.compile(r"\[[A-Z][A-Z_]*_[0-9]+\]")
_CHINESE_CHARACTER = "\u3400-\u4dbf\u4e00-\u9fff"
_LETTER = f"[^\\W\\d_{_CHINESE_CHARACTER}]"
_TOKEN = re.compile(
    rf"{PLACEHOLDER.pattern}|{_LETTER}+(?:['’](?!(?:s|m|d|re|ll|ve)\b){_LETTER}+)*|\d+|[{_CHINESE_CHARACTER}]|\n|[^\s]",
    re.IGNORECASE,
)
_IS_CHINESE = re.compile(f"[{_CHINESE_CHARACTER}]")
_LOOK_AHEAD = 5  # tokens in which a word of an address is looked for


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHINESE_ROAD = frozenset("路街道巷弄号室栋楼幢单元层座村苑园寓厦区县镇乡")
_STREET_WORDS = _words(
    """st street rd road ave avenue ln lane dr drive blvd boulevard boul way close court ct crescent cres place pl
    terrace square sq parade grove hill row view gardens mews walk highway hwy pkwy parkway circle cir trail loop
    estate bypass nagar marg cross layout rue avenida calle via viale piazza plaza straße strasse str platz weg allee
    straat gracht laan gata gatan gade vej jalan rua box flat apt apartment unit suite floor"""
)
_STREET_ENDINGS = ("straße", "strasse", "str", "gasse", "platz", "weg", "allee", "straat", "gracht", "laan", "gata")
SURNAMES = frozenset(
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田"
    "任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文庞樊兰殷施陶洪翟安颜倪严牛温芦季"
    "俞章鲁葛伍韦申尤毕聂丛焦向柳邢骆岳齐沿梅莫庄辛管祝左涂谷祁时舒耿牟卜路詹关苗凌费纪靳盛童欧甄项曲成游阳裴席卫查屈鲍位"
    "覃霍翁隋植甘景薄单包司柏宁柯阮桂闵解强柴华车冉房边辜吉饶刁瞿戚丘古米池滕晋苑邬臧畅宫来嵺苟全褚廉简娄盖符奚木穆党燕郎"
    "邸冀谈姬屠连郜晏栾郁商蒙计喻揭窦迟宇敖糜鄢冷卓花仇艾蓝都巩稽井练仲乐虞卞封竺冼原官衣楚佟栗匡宗应台巫鞠僧桑荆谌银扬明沙"
    "伏岑习胥保和"
)
COMPOUND_SURNAMES = _words("欧阳 诸葛 司马 上官 尉迟 东方 皇甫 慕容 令狐 公孙 夏侯 司徒 长孙 轩辕 宇文 端木 南宫 独孤")
_TITLES = frozenset("先女小老阿总经医师教主律姐哥叔姨爷奶伯嫂妈爸")


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its position in the text: characters `start` to `end`."""

    text: str
    start: int
    end: int


def tokenize(text: str) -> list[Token]:
    """Tokens of a text, in order."""
    return [Token(match.group(), match.start(), match.end()) for match in _TOKEN.finditer(text)]


@dataclass(frozen=True, slots=True)
class WordLists:
    """Hashes (`word_hash`) of words in Latin letters, by list.

    Attributes:
        first_names: given names.
        last_names: surnames.
        common_words: frequent English words, of which some are names as well.
    """

    first_names: Collection[int]
    last_names: Collection[int]
    common_words: Collection[int]


def token_features(tokens: Sequence[str], lists: WordLists, num_buckets: int) -> list[list[int]]:
    """Buckets of the features of every token.

    Args:
        tokens: texts of the tokens.
        lists: lists of words.
        num_buckets: number of buckets.
    """
    return [
        [crc32(feature.encode()) % num_buckets for feature in features] for features in feature_names(tokens, lists)
    ]


def word_hash(word: str) -> int:
    """Hash of a word in lower case, for lists of names."""
    return crc32(word.lower().encode())


def feature_names(tokens: Sequence[str], lists: WordLists) -> list[list[str]]:
    """Names of the features of every token, see `token_features`."""
    padded = ["<2", "<1", *(_normalize(token) for token in tokens), ">1", ">2"]
    shapes = ["<", *(_shape(token) for token in tokens), ">"]
    memberships = ["", *(_membership(token, lists) for token in tokens), ""]
    address = _address_contexts(padded[2:-2])
    rows = []
    for index, token in enumerate(tokens):
        before_2, before, word, after, after_2 = padded[index : index + 5]
        shape_before, shape, shape_after = shapes[index : index + 3]
        list_before, membership, list_after = memberships[index : index + 3]
        row = [
            "bias", f"w{word}", f"-{before}", f"+{after}", f"={before_2}", f"#{after_2}",
            f"-w{before} {word}", f"w+{word} {after}", f"=-{before_2} {before}", f"+#{after} {after_2}",
            f"-+{before} {after}", f"s{shape}", f"-s{shape_before} {shape}", f"s+{shape} {shape_after}",
            f"-s+{shape_before} {shape} {shape_after}", f"l{membership}", f"-l{list_before} {membership}",
            f"l+{membership} {list_after}", f"ls{membership} {shape}", f"-ls{before} {membership} {shape}",
            f"ls+{after} {membership} {shape}", f"a{address[index]}", f"as{address[index]} {shape}",
        ]  # fmt: skip
        if shape == "C":
            row += [
                f"3{before} {word} {after}",
                f"-l2{before_2} {before} {membership}",
                f"l2{membership} {after} {after_2}",
            ]
        elif token[0].isalpha():
            row += [
                f"p{word[:3]}", f"e{word[-2:]}", f"e{word[-3:]}", f"e{word[-4:]}", f"=-s{before_2} {before} {shape}",
                f"-l1{before} {membership}", f"=-l{before_2} {before} {membership}",
            ]  # fmt: skip
        rows.append(row)
    return rows


def _normalize(token: str) -> str:
    """The word in lower case; numbers by their length; placeholders alike."""
    if token[0].isdigit():
        return f"0{min(len(token), 6)}"
    if len(token) > 3 and token[0] == "[":
        return "[]"
    return token.lower()


def _shape(token: str) -> str:
    first = token[0]
    if first.isdigit():
        return f"0{min(len(token), 6)}"
    if _IS_CHINESE.match(first):
        return "C"
    if not first.isalpha():
        return "[]" if len(token) > 3 else token
    if token.islower():
        return "x"
    if token.isupper():
        return "X" if len(token) == 1 else "XX"
    return "Xx" if first.isupper() else "xX"


def _membership(token: str, lists: WordLists) -> str:
    """Lists that a token is in: given names, surnames, common words; Chinese surnames and words of titles."""
    if _IS_CHINESE.match(token):
        return ("S" if token in SURNAMES else "") + ("T" if token in _TITLES else "")
    if not token[0].isalpha():
        return "."
    hashed = word_hash(token)
    is_common = "c" if hashed in lists.common_words else ""
    return ("F" if hashed in lists.first_names else "") + ("L" if hashed in lists.last_names else "") + is_common


def _address_contexts(words: Sequence[str]) -> list[str]:
    """For every token, whether the words of an address and a number are near."""
    contexts = []
    for index, word in enumerate(words):
        ahead, behind = words[index + 1 : index + 1 + _LOOK_AHEAD], words[max(0, index - _LOOK_AHEAD) : index]
        if _IS_CHINESE.match(word) or word in _CHINESE_ROAD:
            road = next((entry for entry in ahead if entry in _CHINESE_ROAD), "")
            past = next((entry for entry in reversed(behind) if entry in _CHINESE_ROAD), "")
            contexts.append(f"{int(word in _CHINESE_ROAD)}{road}|{past}{int(any(e[0] == '0' for e in ahead))}")
            continue
        near = (_is_street_word(word), any(map(_is_street_word, ahead)), any(map(_is_street_word, behind)))
        digits = (any(entry[0] == "0" for entry in behind), any(entry[0] == "0" for entry in ahead))
        contexts.append("".join(str(int(flag)) for flag in (*near, *digits)))
    return contexts


def _is_street_word(word: str) -> bool:
    return word in _STREET_WORDS or (len(word) > 6 and word.endswith(_STREET_ENDINGS))
