"""The rule-based designer's rules: one answer to each prompt, from the messages alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nader.llm.errors import ErrorKind, LLMError
from nader.llm.rules.designs import design_stem_and_downsample, judge_modification, modify_cell, repair
from nader.llm.rules.ideas import (
    extract_inspirations,
    judge_relevance,
    propose_freely,
    rank_inspirations,
)
from nader.llm.rules.lessons import reflect_invalid, reflect_loss, reflect_repair, reflect_success
from nader.llm.rules.question import Question
from prompts import Message

RULES: dict[str, Callable[[Question], str]] = {
    rule.__name__: rule
    for rule in (
        judge_relevance,
        extract_inspirations,
        rank_inspirations,
        propose_freely,
        modify_cell,
        design_stem_and_downsample,
        repair,
        reflect_invalid,
        reflect_loss,
        reflect_repair,
        reflect_success,
        judge_modification,
    )
}
"""Rules by template. `direct_code` has none: code is not what edits of graphs give."""


def answer_prompt(messages: Sequence[Message]) -> str:
    """The rule-based answer, in the form that the prompt asks for. Raises LLMError for an unknown prompt."""
    question = Question(messages)
    if question.task not in RULES:
        raise LLMError(
            ErrorKind.BAD_REQUEST, f"the rule-based designer has no rule for the prompt {question.task!r}."
        )
    return RULES[question.task](question)
