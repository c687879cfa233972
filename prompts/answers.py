"""Reading answers: from what models write to one typed value, or a sentence that asks again."""

from __future__ import annotations

import html
import json
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from prompts.errors import AnswerError
from prompts.forms import ANSWERS, unique
from prompts.message import Message
from prompts.reading import fenced, reasoning_in, without_reasoning
from prompts.template import load
from prompts.values import Answer, Ranking, Tip

LONGEST = 400_000
"""Characters that an answer may have; more is not an answer to any of our questions."""

_TAG_OF: dict[str, dict[str, tuple[str, ...]]] = {
    "relevance": {"relevant": ("verdict",)},
    "inspirations": {"inspirations": ("inspiration",)},
    "ranking": {"ids": ("ranking",)},
    "proposals": {"proposals": ("proposal",)},
    "tip": {"text": ("tip", "suggestion")},
    "suggestion": {"text": ("tip", "suggestion")},
    "judgement": {"follows": ("verdict",)},
}
"""By form and field: the names of tags under which models write the field where they write JSON unasked."""


def parse_answer(template: str, text: str, *, ids: Collection[str] | None = None) -> Answer:
    """The typed answer to a template's question.

    Tolerates reasoning before, after and round the answer, `<think>` blocks, code fences, missing or
    upper-case tags and JSON.
    `ids` are those that a ranking may name; others are dropped. Raises AnswerError, a sentence to the model.
    """
    form = load(template).answer
    if len(text) > LONGEST:
        raise AnswerError(
            f"The answer has {len(text):,} characters, far more than asked for. {ANSWERS[form].ask}"
        )
    answer = _read(form, text)
    if isinstance(answer, Ranking) and ids is not None:
        answer = _known(answer, ids)
    return answer


def json_schema(template: str) -> dict[str, Any] | None:
    """The JSON schema for structured output, or None where free text serves better.

    Blocks and code are left as text: a graph in a JSON string costs tokens and leaves no room to reason.
    """
    form = ANSWERS[load(template).answer]
    if not form.structured:
        return None
    schema = form.model.model_json_schema()
    return _strict({"title": template, **{k: v for k, v in schema.items() if k != "title"}})


def repair_messages(answer: str, error: AnswerError, *, keep: int = 6000) -> tuple[Message, Message]:
    """What to add to the conversation: the answer (its last `keep` characters), and what is amiss with it."""
    shown = answer if len(answer) <= keep else "…" + answer[-keep:]
    return (
        Message(role="assistant", content=shown if shown.strip() else "(empty)"),
        Message(role="user", content=f"{error} Answer the same task again."),
    )


def _read(form: str, text: str) -> Answer:
    """The answer outside of the reasoning; where none is there, one whose tags stand whole within it."""
    places = [without_reasoning(text)]
    places += [body for body in reversed(reasoning_in(text)) if ANSWERS[form].stands_in(body)]
    why = ""
    for said in places:
        if not said.strip():
            why = "The answer is empty after its reasoning."
            continue
        try:
            return _from_json(form, said) or ANSWERS[form].read(said)
        except (AnswerError, ValidationError) as error:
            why = why or (str(error) if isinstance(error, AnswerError) else "A part of the answer is empty.")
    raise AnswerError(f"{why} {ANSWERS[form].ask}")


def _known(ranking: Ranking, ids: Collection[str]) -> Ranking:
    known = tuple(i for i in ranking.ids if i in ids)
    if not known:
        raise AnswerError(f"The ranking names none of the ids given. {ANSWERS['ranking'].ask}")
    return Ranking(ids=known)


def _from_json(form: str, said: str) -> Answer | None:
    """The answer where the model wrote JSON of the form's shape, else None."""
    for body in (said, *fenced(said)):
        body = body.strip()
        if not body.startswith("{"):
            continue
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            try:
                answer = ANSWERS[form].model.model_validate(_by_field(form, value))
            except ValidationError:
                continue
            if isinstance(answer, Tip):  # as long as one in a tag may be, and without its markup too
                return ANSWERS[form].read(f"<tip>{html.escape(answer.text)}</tip>")
            return unique(answer) if isinstance(answer, Ranking) else answer
    return None


def _by_field(form: str, value: dict[str, Any]) -> dict[str, Any]:
    """What a JSON object says, by the fields of the form; under the names of the form's tags too."""
    fields = {}
    for field in ANSWERS[form].model.model_fields:
        names = [name for name in (field, *_TAG_OF.get(form, {}).get(field, ())) if name in value]
        if names:
            fields[field] = value[names[0]]
    if isinstance(fields.get("ids"), list):
        fields["ids"] = [str(i) for i in fields["ids"]]
    return fields


def _strict(schema: Any) -> Any:
    """The schema as structured output wants it: every property required, no defaults, no other keywords."""
    if isinstance(schema, dict):
        kept = {
            k: _strict(v)
            for k, v in schema.items()
            if k not in {"default", "description", "minItems", "minLength"}
        }
        if "properties" in kept:
            kept["properties"] = {k: _strict(v) for k, v in schema["properties"].items()}
            for value in kept["properties"].values():
                value.pop("title", None)
            kept["required"] = list(kept["properties"])
        return kept
    return [_strict(v) for v in schema] if isinstance(schema, list) else schema
