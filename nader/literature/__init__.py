"""Reading: paper sources, PDF text, the method section, and lists of inspirations."""

from nader.literature.clean import clean_text, count_tokens
from nader.literature.endpoints import Endpoints
from nader.literature.errors import (
    InspirationListError,
    LiteratureError,
    RefusedError,
    SourceError,
    SourceSpecError,
)
from nader.literature.fetch import Fetcher
from nader.literature.lists import load_inspirations
from nader.literature.merge import Merge, Merged, NearDuplicates, merge_near_duplicates, word_similarity
from nader.literature.papers import (
    FailureKind,
    Inspiration,
    Paper,
    PaperRecord,
    PaperText,
    TextFailure,
    paper_digest,
)
from nader.literature.pdf import PdfLimits, pdf_text
from nader.literature.reading import read_paper
from nader.literature.relevance import Relevance, relevance, split_relevant
from nader.literature.sections import Section, abstract_of, method_section
from nader.literature.seeds import seed_inspirations
from nader.literature.sources import InspirationFile, PaperSource, parse_source

__all__ = [
    "Endpoints",
    "FailureKind",
    "Fetcher",
    "Inspiration",
    "InspirationFile",
    "InspirationListError",
    "LiteratureError",
    "Merge",
    "Merged",
    "NearDuplicates",
    "Paper",
    "PaperRecord",
    "PaperSource",
    "PaperText",
    "PdfLimits",
    "RefusedError",
    "Relevance",
    "Section",
    "SourceError",
    "SourceSpecError",
    "TextFailure",
    "abstract_of",
    "clean_text",
    "count_tokens",
    "load_inspirations",
    "merge_near_duplicates",
    "method_section",
    "paper_digest",
    "parse_source",
    "pdf_text",
    "read_paper",
    "relevance",
    "seed_inspirations",
    "split_relevant",
    "word_similarity",
]
