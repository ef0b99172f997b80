"""Removes from texts of documents what no reader sees and no file can hold."""

import re

# Control characters, unpaired surrogates and noncharacters; and tag characters, which are invisible and can carry
# instructions, except in the flags of regions, which begin with a black flag.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
)


def clean_text(text: str) -> str:
    """The text without invisible and invalid characters, and without outer white space. It can be encoded as UTF-8."""
    return _INVISIBLE.sub("", text).strip()
