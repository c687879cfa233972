"""Sections of a prompt: each variable stands in a tag of its own, and no value can close or forge one."""

from __future__ import annotations

import re
from functools import lru_cache

# A `<` that could begin a tag, a comment or a chat template's control token. Plain comparisons (`3<5`) and
# the arrows of the block language stay as they are.
_TAG_LIKE = re.compile(r"<(?=\s{0,8}[/!?|A-Za-z_])")
# C0 and C1 controls except tab and line feed, lone surrogates, marks that reverse the order of reading.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def escape(value: str) -> str:
    """The value as data: no tag in it can be read as one of ours, and it holds printable text only."""
    text = value.replace("\r\n", "\n").replace("\r", "\n")
    return _TAG_LIKE.sub("&lt;", _UNPRINTABLE.sub("\ufffd", text))


_escaped = lru_cache(maxsize=256)(escape)
_OFTEN = 16_384
"""Characters up to which an escaped value is held: the definition of the language, a block that is asked
about again; not a paper.
"""


def wrap(name: str, value: str, *, inline: bool) -> str:
    """`<name>value</name>`, on lines of its own unless inline."""
    body = (_escaped if len(value) <= _OFTEN else escape)(value).strip("\n")
    return f"<{name}>{body}</{name}>" if inline else f"<{name}>\n{body}\n</{name}>"


def section(text: str, name: str) -> str | None:
    """The value that was rendered into the tag, or None where the text has no such section.

    The first one counts: an example of the answer's form may follow under the same name.
    """
    _, opened, rest = text.partition(f"<{name}>")
    body, closed, _ = rest.partition(f"</{name}>")
    return body.strip("\n").replace("&lt;", "<") if opened and closed else None
