"""Reading: paper sources, PDF text, the method section, and lists of inspirations."""

from nader.literature.errors import InspirationListError, LiteratureError, SourceError, SourceSpecError
from nader.literature.papers import Inspiration, Paper, PaperRecord, TextKind
from nader.literature.seeds import seed_inspirations

__all__ = [
    "Inspiration",
    "InspirationListError",
    "LiteratureError",
    "Paper",
    "PaperRecord",
    "SourceError",
    "SourceSpecError",
    "TextKind",
    "seed_inspirations",
]
