"""The questions that agents put to language models, and how their answers are read."""

from prompts.answers import (
    ANSWERS,
    Answer,
    AnswerError,
    BlockText,
    Code,
    Inspirations,
    Judgement,
    Proposals,
    Ranking,
    Relevance,
    StemAndDownsample,
    Tip,
    json_schema,
    parse_answer,
    repair_messages,
)
from prompts.errors import PromptError
from prompts.message import Message
from prompts.tags import escape, section, sections, unescape
from prompts.template import NAMES, Template, load, load_from

__all__ = [
    "ANSWERS",
    "NAMES",
    "Answer",
    "AnswerError",
    "BlockText",
    "Code",
    "Inspirations",
    "Judgement",
    "Message",
    "PromptError",
    "Proposals",
    "Ranking",
    "Relevance",
    "StemAndDownsample",
    "Template",
    "Tip",
    "escape",
    "json_schema",
    "load",
    "load_from",
    "parse_answer",
    "repair_messages",
    "section",
    "sections",
    "unescape",
]
