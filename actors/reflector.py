"""The Reflector turns a settled candidate into experience: what to avoid, how a draft was mended, what
helped (Algorithm 3).
"""

from dataclasses import dataclass

from actors.actor import Agent, handles
from actors.asking import NoAnswer, Variable, ask_model, embed, settings_at
from actors.context import AgentContext
from actors.network import NO_OP, NO_WIDTH
from actors.texts import labelled
from actors.trainer import AWAY
from events import Event
from events.development import RoleName
from events.reflection import (
    CandidateClosed,
    ExperienceKind,
    ExperienceRecorded,
    LessonRecorded,
    Outcome,
    ReflectionRequested,
)
from nader.graph import Role, language_reference
from nader.settings import CampaignSettings
from nader.training import FailureKind
from store.projections.tree import Candidate, DraftRow

IMPROVEMENT, DEGRADATION, NO_GAIN = "improvement", "degradation", "no-gain"

PLAIN = {
    NO_OP: "A draft for a suggestion like this one left the block as it was. Change what the block computes: "
    "other operations, other arguments or other connections; new names and numbers change nothing.",
    NO_WIDTH: "A draft for a suggestion like this one cost too much at every width. Reduce channels first, "
    "use grouped or depthwise convolutions, and keep large kernels off full-width features.",
}
"""What a draft teaches that meets the language's definition and was rejected all the same: no model need find
out why.
"""

CATEGORY_OF_FAILURE = {
    "nan": "divergence",
    "hopeless": "divergence",
    "gpu-oom": "memory",
    "host-oom": "memory",
    "hang": "time",
    "time-out": "time",
}
"""Categories of experience for failed trainings; others keep the failure's own kind."""

OF_THE_MACHINE = frozenset({*AWAY, FailureKind.LOST_NODE.value, FailureKind.CANCELLED.value})
"""Failures that say nothing about the design, and so leave no experience with its suggestion."""

ADVICE_ON_FAILURE = {
    "divergence": "A modification like this one kept the network from learning; keep an identity path and "
    "normalise before activations, so that the loss falls from the first epochs.",
    "memory": "A modification like this one needed more memory than there is; reduce channels or resolution "
    "before operations whose cost grows with the map.",
    "time": "A modification like this one took too long to train; avoid operations that visit every pair of "
    "positions on large maps.",
}
"""What a failed training teaches, by category: facts of the machine need no model to interpret them."""


@dataclass(frozen=True)
class _Found:
    """An experience before it is numbered and recorded."""

    kind: ExperienceKind
    category: str
    role: RoleName
    tip: str


class Reflector(Agent):
    """Learns from design experience (paper §3.4.2)."""

    name = "reflector"
    concurrency = 8
    answered = (ReflectionRequested.__name__,)

    @handles(ReflectionRequested)
    async def on_settled(self, ctx: AgentContext, request: ReflectionRequested) -> None:
        """Write down what one candidate teaches, and close it."""
        settings, tree = settings_at(ctx), ctx.views.tree
        candidate = tree.candidate(request.candidate, ctx.view)
        assert candidate is not None and candidate.parent is not None
        parent = tree.parent(candidate, ctx.view)
        assert parent is not None
        found = await self._from_drafts(ctx, settings, candidate)
        gain = None
        if candidate.trained and parent.validation is not None and candidate.validation is not None:
            gain = round(candidate.validation - parent.validation, 6)
            found.append(await self._from_result(ctx, settings, candidate, parent, gain))
        elif candidate.failed and candidate.failure not in OF_THE_MACHINE:
            found.append(_from_failure(candidate))
        await self._record(ctx, settings, candidate, found, gain)
        await ctx.emit(
            CandidateClosed(candidate=candidate.id, round=candidate.round, outcome=_outcome(candidate, gain))
        )

    def give_up(self, cause: Event, error: str) -> list[Event]:
        """A candidate closed without a lesson."""
        assert isinstance(cause, ReflectionRequested)
        return [CandidateClosed(candidate=cause.candidate, round=cause.round, outcome="failed")]

    async def _from_drafts(
        self, ctx: AgentContext, settings: CampaignSettings, candidate: Candidate
    ) -> list[_Found]:
        """For each block that had to be redrafted: how it was mended, or why it never was."""
        found = []
        for role in Role:
            drafts = ctx.views.tree.drafts(candidate.id, role.value, ctx.view)
            rejected = [d for d in drafts if d.problems is not None]
            accepted = next((d for d in drafts if d.problems is None), None)
            if accepted is not None:
                # A draft of a fresh start corrects nothing: it was written without those before it.
                mended = [d for d in rejected if d.round == accepted.round]
                rejected, accepted = (mended, accepted) if mended else (rejected, None)
            if rejected:
                found.append(await self._from_redrafting(ctx, settings, role, rejected[-1], accepted))
        return found

    async def _from_redrafting(
        self,
        ctx: AgentContext,
        settings: CampaignSettings,
        role: Role,
        rejected: DraftRow,
        accepted: DraftRow | None,
    ) -> _Found:
        assert rejected.problems is not None
        category = rejected.codes[0] if rejected.codes else "invalid"
        if category in PLAIN and accepted is None:
            return _Found("failure", category, role.value, PLAIN[category])
        problems = ctx.text(rejected.problems)
        variables: dict[str, Variable] = {
            "language": language_reference(role),
            "draft": ctx.text(rejected.block),
            "problems": problems,
        }
        kind: ExperienceKind = "failure"
        prompt = "reflect_invalid"
        if accepted is not None:
            kind, prompt = "repair", "reflect_repair"
            variables["repaired"] = ctx.text(accepted.block)
        tip = await self._tip(ctx, settings, prompt, variables, f"{kind}/{role.value}", instead=problems)
        return _Found(kind, category, role.value, tip)

    async def _from_result(
        self,
        ctx: AgentContext,
        settings: CampaignSettings,
        candidate: Candidate,
        parent: Candidate,
        gain: float,
    ) -> _Found:
        assert candidate.design is not None and parent.design is not None
        variables: dict[str, Variable] = {
            "language": language_reference(Role.CELL),
            "parent": labelled(ctx.text(parent.design)),
            "parent_accuracy": f"{parent.validation:.2f} %",
            "child": labelled(ctx.text(candidate.design)),
            "child_accuracy": f"{candidate.validation:.2f} %",
            "inspiration": candidate.suggestion,
        }
        instead = f"{candidate.suggestion} ({gain:+.2f} points of validation accuracy on its parent.)"
        if gain > 0:
            tip = await self._tip(ctx, settings, "reflect_success", variables, "success", instead=instead)
            return _Found("success", IMPROVEMENT, "cell", tip)
        tip = await self._tip(ctx, settings, "reflect_loss", variables, "loss", instead=instead)
        return _Found("failure", DEGRADATION if gain < 0 else NO_GAIN, "cell", tip)

    async def _tip(
        self,
        ctx: AgentContext,
        settings: CampaignSettings,
        prompt: str,
        variables: dict[str, Variable],
        name: str,
        *,
        instead: str,
    ) -> str:
        """The model's tip; without a model's answer, the plain facts."""
        try:
            answer = await ask_model(ctx, settings, prompt, variables, name=name)
        except NoAnswer:
            return instead[:1000]
        tip: str = answer.text
        return tip

    async def _record(
        self,
        ctx: AgentContext,
        settings: CampaignSettings,
        candidate: Candidate,
        found: list[_Found],
        gain: float | None,
    ) -> None:
        """Experiences keyed by the suggestion's embedding, and the lesson for the Proposer."""
        if not found:
            return
        embedded = await embed(ctx, settings, [candidate.suggestion], name="suggestion")
        if embedded is None:
            return
        vector = ctx.put(embedded.vectors[0].astype("<f4").tobytes())
        embedder, dimension = embedded.embedder, embedded.dimension
        for number, item in enumerate(found, 1):
            await ctx.emit(
                ExperienceRecorded(
                    experience=f"{candidate.id}/{number}",
                    candidate=candidate.id,
                    round=candidate.round,
                    kind=item.kind,
                    category=item.category,
                    role=item.role,
                    suggestion=candidate.suggestion,
                    tip=item.tip,
                    vector=vector,
                    embedder=embedder,
                    dimension=dimension,
                )
            )
        outcome = _outcome(candidate, gain)
        if gain is not None or (
            outcome in ("failed", "abandoned") and candidate.failure not in OF_THE_MACHINE
        ):
            assert candidate.parent is not None
            await ctx.emit(
                LessonRecorded(
                    lesson=candidate.id,
                    candidate=candidate.id,
                    round=candidate.round,
                    parent=candidate.parent,
                    inspiration=candidate.inspiration,
                    suggestion=candidate.suggestion,
                    outcome=outcome,
                    gain=gain,
                    text=found[-1].tip,
                    vector=vector,
                    embedder=embedder,
                    dimension=dimension,
                )
            )


def _from_failure(candidate: Candidate) -> _Found:
    category = CATEGORY_OF_FAILURE.get(candidate.failure, candidate.failure)
    tip = ADVICE_ON_FAILURE.get(
        category, f"A modification like this one did not train ({candidate.failure})."
    )
    return _Found("failure", category, "cell", tip)


def _outcome(candidate: Candidate, gain: float | None) -> Outcome:
    if candidate.failed:
        return "failed"
    if not candidate.trained:
        return "abandoned"
    return "improved" if gain is not None and gain > 0 else "not-improved"
