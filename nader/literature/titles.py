"""Which of the texts that may be a paper's title can be one."""

import re

from nader.literature.clean import one_line

_MACHINE_MADE = re.compile(r"arxiv:|untitled|\.(?:tex|dvi|docx?|pdf|indd)\b|^microsoft word", re.IGNORECASE)


def plausible_title(text: str | None) -> str | None:
    """The text as one line if it can be a title: words, mostly letters, no file name or stamp; else None."""
    title = one_line(text or "")
    if not 8 <= len(title) <= 250 or " " not in title or _MACHINE_MADE.search(title):
        return None
    return title if sum(c.isalpha() for c in title) > len(title) / 2 else None
