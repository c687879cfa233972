"""How agents put questions to a model: a typed prompt in, a typed answer out, a repair turn for a malformed
one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

import prompts
from actors.context import AgentContext
from events import Envelope
from events.llm import (
    ChatCompleted,
    ChatFailed,
    ChatRequested,
    EmbeddingCompleted,
    EmbeddingRequested,
    MessageRef,
)
from nader.llm import ErrorKind
from nader.settings import CampaignSettings, validated

Vectors = npt.NDArray[np.float32]
Variable = str | int | float | Fraction

_settings: dict[int, tuple[dict[str, Any], CampaignSettings]] = {}


MALFORMED = "malformed"
"""Kind of failure: an answer that kept to no form, turn after turn."""
OF_THE_ANSWER = frozenset(
    {
        MALFORMED,
        ErrorKind.EMPTY,
        ErrorKind.REFUSAL,
        ErrorKind.CUT_OFF,
        ErrorKind.TOO_LARGE,
        ErrorKind.MALFORMED,
    }
)
"""Kinds of failure that lie in the one answer: the same question, asked afresh, may well be answered."""


class NoAnswer(Exception):
    """The model gave no usable answer; the kind is `llm` error kind or `malformed`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def may_pass(self) -> bool:
        """Whether asking afresh may help."""
        return self.kind in OF_THE_ANSWER


def settings_at(ctx: AgentContext) -> CampaignSettings:
    """The campaign's settings that are in force for the handling."""
    values = ctx.views.status.settings(ctx.under)
    held = _settings.get(id(values))
    if held is None or held[0] is not values:
        held = (values, validated(values, where="the log's settings"))
        if len(_settings) > 64:
            _settings.clear()
        _settings[id(values)] = held
    return held[1]


def template_at(ctx: AgentContext, prompt: str) -> prompts.Template:
    """The prompt in force for the handling: the campaign's own where it brought one, else the built-in."""
    own = ctx.views.status.prompts(ctx.under).get(prompt)
    return prompts.load(prompt) if own is None else prompts.load_text(prompt, ctx.text(own))


async def ask_model(
    ctx: AgentContext,
    settings: CampaignSettings,
    prompt: str,
    variables: Mapping[str, Variable],
    *,
    name: str,
    **read: Any,
) -> Any:
    """The typed answer to a prompt. Raises `NoAnswer` when the model fails or keeps to no form.

    `name` tells the question from the handler's others; `read` goes to `prompts.parse_answer`.
    """
    template = template_at(ctx, prompt)
    messages: list[prompts.Message] = list(template.render(**variables))
    for turn in range(1 + settings.llm.answer_repairs):
        terminal = await _chat(
            ctx, settings, template, messages, name if turn == 0 else f"{name}/again-{turn}"
        )
        if not isinstance(terminal.event, ChatCompleted):
            raise NoAnswer(*_failure(terminal))
        text = ctx.text(terminal.event.answer)
        try:
            return prompts.parse_answer(prompt, text, **read)
        except prompts.AnswerError as error:
            problem = error
            messages = [*messages, *prompts.repair_messages(text, error)]
    raise NoAnswer(MALFORMED, str(problem))


@dataclass(frozen=True)
class Embedded:
    """Vectors as they were recorded."""

    vectors: Vectors
    """float32 (n, dimension)."""
    embedder: str
    """Whose they are: not as the question says, where that was open when the settings changed."""
    dimension: int


async def embed(
    ctx: AgentContext, settings: CampaignSettings, texts: Sequence[str], *, name: str
) -> Embedded | None:
    """Vectors of texts; None when there are none to be had."""
    llm = settings.llm
    request = EmbeddingRequested(
        agent=ctx.actor,
        texts=ctx.put(json.dumps(list(texts), ensure_ascii=False)),
        count=len(texts),
        embedder=llm.embedder_name,
        dimension=llm.embedding_dimension,
    )
    terminal = (await ctx.ask(request, name=name)).event
    if not isinstance(terminal, EmbeddingCompleted):
        return None
    rows = np.frombuffer(ctx.read(terminal.vectors), dtype="<f4").reshape(terminal.count, terminal.dimension)
    return Embedded(rows, terminal.embedder, terminal.dimension)


async def _chat(
    ctx: AgentContext,
    settings: CampaignSettings,
    template: prompts.Template,
    messages: Sequence[prompts.Message],
    name: str,
) -> Envelope:
    llm = settings.llm
    agent: Any = ctx.actor
    request = ChatRequested(
        agent=ctx.actor,
        prompt=template.name,
        prompt_version=template.version,
        prompt_digest=template.digest,
        messages=tuple(MessageRef(role=m.role, digest=ctx.put(m.content)) for m in messages),
        backend=llm.backend,
        model=llm.models.get(agent, llm.model) if llm.backend == "openai" else llm.backend,
        temperature=llm.temperatures.get(agent, llm.temperature),
        max_tokens=llm.max_tokens,
        seed=ctx.rng(f"chat/{name}", settings.seed).randrange(2**31),
    )
    return await ctx.ask(request, name=name)


def _failure(terminal: Envelope) -> tuple[str, str]:
    event = terminal.event
    if isinstance(event, ChatFailed):
        return event.kind, event.message
    return "cancelled", "the request was cancelled at a fork"
