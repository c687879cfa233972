"""Untrusted text made harmless to show and store, and its length in tokens."""

import math
import re
import unicodedata

_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "\u00a0": " "})
# A terminal acts on escape sequences, and a reader is deceived by text that runs backwards: both are taken
# out before anything else sees the text. Sequences go whole, so that no "[31m" stays behind.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|\x9b[0-9;?]*[@-~]"
)
_KEPT_CONTROLS = {"\n", "\t", "\f"}


def clean_text(text: str) -> str:
    """Text without control, escape and direction characters and lone surrogates; lines end in one line feed.

    Form feeds stay: they part pages. Nothing else of the text changes; instructions or markup in it are text.
    """
    text = _ESCAPES.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).translate(_LIGATURES)
    if text.isascii() and text.replace("\n", "").replace("\t", "").replace("\f", "").isprintable():
        return text
    return "".join(
        c for c in text if c in _KEPT_CONTROLS or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co")
    )


def one_line(text: str) -> str:
    """Clean text with every run of white space made one space: what a title may be."""
    return " ".join(clean_text(text).split())


def count_tokens(text: str) -> int:
    """An estimate of the tokens of a text, high for English: the more of 4/3 a word and 1/4 a character."""
    return max(math.ceil(len(text) / 4), math.ceil(len(text.split()) * 4 / 3))
