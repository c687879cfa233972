"""The questions that agents put to language models, and how their answers are read."""

from prompts.answers import json_schema, parse_answer, repair_messages
from prompts.errors import AnswerError, PromptError
from prompts.forms import ANSWERS
from prompts.message import Message
from prompts.tags import escape, section
from prompts.template import NAMES, Template, load, load_text
from prompts.values import (
    Answer,
    BlockText,
    Code,
    Inspirations,
    Judgement,
    Proposals,
    Ranking,
    Relevance,
    StemAndDownsample,
    Tip,
)

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
    "load_text",
    "parse_answer",
    "repair_messages",
    "section",
]
