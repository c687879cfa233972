"""The Director opens rounds, has settled candidates reflected upon, and ends the campaign.

Every decision is a function of the tree as of its view: whichever event wakes it, it looks at the whole and
does what is due. So the order in which trainings end changes when things happen, and never what happens.
"""

from typing import Literal

from actors.actor import Agent, handles
from actors.asking import settings_at
from actors.context import AgentContext
from actors.network import choose_width, design_from, skeleton_of
from events.campaign import (
    BaseDesigned,
    CampaignFinished,
    CampaignStarted,
    RoundClosed,
    RoundDesigned,
    RoundOpened,
    SettingsChanged,
)
from events.development import DesignAbandoned
from events.reading import KnowledgeIndexed
from events.reflection import CandidateClosed, ReflectionRequested
from events.training import CandidateFailed, CandidateTrained
from nader.graph import print_block
from nader.settings import CampaignSettings
from store.projections.tree import Candidate, RoundState, Tree

BASE = "base"
"""Id of the candidate that the campaign starts from: round 0, the root of the tree."""


class Director(Agent):
    """Opens and closes rounds (paper Algorithm 2's outer loop)."""

    name = "director"
    serial = True

    @handles(CampaignStarted)
    async def on_start(self, ctx: AgentContext, started: CampaignStarted) -> None:
        """Enter the base design: the root of the modification tree."""
        settings = settings_at(ctx)
        design = design_from(ctx.text(started.base))
        choice = choose_width(
            design, skeleton_of(settings, started.ground.image), settings, started.ground.classes
        )
        text = "\n".join(print_block(block) for block in (design.cell, design.stem, design.downsample))
        await ctx.emit(
            BaseDesigned(
                candidate=BASE,
                design=ctx.put(text),
                digest=design.digest,
                width=choice.width,
                params=choice.cost.params,
                macs=choice.cost.macs,
                source=started.base_source,
            ),
            about=BASE,
        )

    @handles(KnowledgeIndexed)
    async def on_knowledge(self, ctx: AgentContext, event: KnowledgeIndexed) -> None:
        """The first round can open."""
        await self._advance(ctx)

    @handles(RoundDesigned)
    async def on_round(self, ctx: AgentContext, event: RoundDesigned) -> None:
        """It is known which proposals are candidates."""
        await self._advance(ctx)

    @handles(DesignAbandoned)
    async def on_abandoned(self, ctx: AgentContext, event: DesignAbandoned) -> None:
        """No design will come: of a round that was given up, nobody else says so."""
        await self._advance(ctx)

    @handles(CandidateTrained)
    async def on_trained(self, ctx: AgentContext, event: CandidateTrained) -> None:
        """A result is known."""
        await self._advance(ctx)

    @handles(CandidateFailed)
    async def on_failed(self, ctx: AgentContext, event: CandidateFailed) -> None:
        """A training gave no result."""
        await self._advance(ctx)

    @handles(CandidateClosed)
    async def on_closed(self, ctx: AgentContext, event: CandidateClosed) -> None:
        """A candidate is done with."""
        await self._advance(ctx)

    @handles(SettingsChanged)
    async def on_settings(self, ctx: AgentContext, event: SettingsChanged) -> None:
        """More candidates or a larger budget may let a finished campaign go on."""
        await self._advance(ctx)

    async def _advance(self, ctx: AgentContext) -> None:
        """Do all that is due as of the view."""
        tree, at, settings = ctx.views.tree, ctx.view, settings_at(ctx)
        base = tree.candidate(BASE, at)
        if base is None or ctx.views.status.finished(at) is not None:
            return
        if base.failed:
            await _finish(ctx, "base-failed", None, base.reason)
            return
        rounds = tree.rounds(at)
        await self._have_reflected(ctx, rounds)
        whole = await self._close_rounds(ctx, rounds)
        designed = [state.designed for state in rounds if state.designed is not None]
        if len(designed) < len(rounds):
            return  # a round is still being designed; the next one waits for its designs
        accepted = sum(len(round.accepted) for round in designed)
        full = accepted >= settings.search.candidates
        since = ctx.views.status.settings_since(ctx.under)
        under_these = [r.designed for r in rounds if r.designed and r.position > since]
        if full or _exhausted(under_these, settings.search.empty_rounds):
            if base.trained and len(whole) == 1 + len(rounds):
                best = tree.best(at, objective=settings.search.objective)
                await _finish(ctx, "completed" if full else "exhausted", best)
            return
        await self._open_round(ctx, settings, 1 + len(rounds), whole)

    async def _open_round(
        self, ctx: AgentContext, settings: CampaignSettings, number: int, whole: set[int]
    ) -> None:
        """Open a round once all that it may see is whole."""
        visible = number - 1 - settings.search.lookahead
        if not ctx.views.knowledge.indexed(ctx.view) or any(r not in whole for r in range(visible + 1)):
            return
        await ctx.emit(
            RoundOpened(round=number, visible=max(visible, -1)),
            about=f"round-{number}",
            name=f"open-{number}",
        )

    async def _have_reflected(self, ctx: AgentContext, rounds: list[RoundState]) -> None:
        """Ask for reflection on every candidate that is settled: decided, and trained where it was
        accepted.
        """
        tree, at = ctx.views.tree, ctx.view
        for state in rounds:
            if state.designed is None or state.closed:
                continue
            for candidate in _members(ctx, state.designed):
                if "ReflectionRequested" in candidate.positions:
                    continue
                if "DesignAbandoned" in candidate.positions or (
                    _known(candidate) and _known(tree.parent(candidate, at))
                ):
                    await ctx.emit(
                        ReflectionRequested(candidate=candidate.id, round=state.round),
                        about=candidate.id,
                        name=f"reflect-{candidate.id}",
                    )

    async def _close_rounds(self, ctx: AgentContext, rounds: list[RoundState]) -> set[int]:
        """Close every round that has become whole; returns all that are."""
        tree, at = ctx.views.tree, ctx.view
        base = tree.candidate(BASE, at)
        whole = {0} if base is not None and base.trained else set()
        for state in rounds:
            if state.closed:
                whole.add(state.round)
            elif state.designed is not None and all(
                "CandidateClosed" in member.positions for member in _members(ctx, state.designed)
            ):
                await ctx.emit(
                    RoundClosed(round=state.round),
                    about=f"round-{state.round}",
                    name=f"close-{state.round}",
                )
                whole.add(state.round)
        return whole


async def _finish(
    ctx: AgentContext,
    reason: Literal["completed", "exhausted", "base-failed"],
    best: Candidate | None,
    detail: str = "",
) -> None:
    """The end is about the campaign, not about the candidate whose event happened to come last."""
    finished = CampaignFinished(reason=reason, best=best.id if best else None, detail=detail)
    await ctx.emit(finished, about="campaign")


def _members(ctx: AgentContext, designed: RoundDesigned) -> list[Candidate]:
    """The candidates that a round waits for. Of one that was given up, nobody said which count: all that were
    proposed, but for those that are an earlier design again and wait for no training.
    """
    tree, at = ctx.views.tree, ctx.view
    if designed.parent:
        found = (tree.candidate(identity, at) for identity in (*designed.accepted, *designed.abandoned))
        return [candidate for candidate in found if candidate is not None]
    proposed = [c for c in tree.candidates(at) if c.round == designed.round and c.original is None]
    return [c for c in proposed if "TrainingRequested" in c.positions or not _is_known_design(tree, c, at)]


def _is_known_design(tree: Tree, candidate: Candidate, at: int) -> bool:
    return (
        candidate.digest is not None
        and tree.by_digest(candidate.digest, at, before=candidate.place) is not None
    )


def _known(candidate: Candidate | None) -> bool:
    return candidate is not None and (candidate.trained or candidate.failed)


def _exhausted(designed: list[RoundDesigned], empty: int) -> bool:
    """Whether the last `empty` rounds, all under the same settings, brought no new design."""
    return len(designed) >= empty and not any(round.accepted for round in designed[-empty:])
