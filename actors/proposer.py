"""The Proposer works in rounds: one parent, one ranking of inspirations, `width` proposals (paper §3.3.2)."""

import asyncio
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from actors.actor import Agent, handles
from actors.asking import NoAnswer, Variable, ask_model, settings_at
from actors.context import AgentContext
from actors.retrieval import Past, retrieve
from actors.selection import Choice, Node, choose_parent
from actors.texts import history_lines, labelled, tried_lines
from events import Envelope, Event
from events.campaign import RoundDesigned, RoundOpened
from events.development import DesignReady
from events.research import DuplicateRecognised, InspirationsRanked, ParentChosen, ProposalMade
from nader.graph import Role, language_reference
from nader.settings import CampaignSettings
from store.projections.knowledge import LessonRow
from store.projections.tree import Candidate

OWN = "own"
"""Prefix of the ids of ideas that come from no paper."""

SIMPLE_EDITS = (
    "Replace every ReLU activation by GELU.",
    "Add a squeeze-and-excitation gate before the output.",
    "Replace a standard convolution by a depthwise separable one.",
    "Enlarge the kernel of a convolution.",
    "Dilate a convolution to widen its receptive field.",
    "Add an extra skip connection from the input to the output.",
    "Split the computation into parallel branches and concatenate them.",
    "Use a grouped convolution.",
    "Insert a bottleneck that reduces and restores the channels.",
    "Add a spatial attention gate.",
)
"""The fixed list that stands in for reading at `reader = "fixed-list"`: the weaker baseline of the
ablation.
"""


@dataclass(frozen=True)
class Idea:
    """Something to try on the parent."""

    id: str
    text: str
    paper: str = ""


class Proposer(Agent):
    """Chooses a parent, ranks ideas for it, proposes, and decides which designs count."""

    name = "proposer"
    serial = True
    answered = (RoundOpened.__name__,)

    @handles(RoundOpened)
    async def on_round(self, ctx: AgentContext, opened: RoundOpened) -> None:
        """One round, from the choice of the parent to the verdict on every design."""
        settings = settings_at(ctx)
        parent = await self._choose_parent(ctx, opened, settings)
        ideas = iter(await self._rank_ideas(ctx, opened, parent, settings))
        wanted = min(settings.search.width, settings.search.candidates - _accepted_before(ctx))
        verdict = _Verdict(ctx, opened.round)
        while len(verdict.accepted) < wanted:
            batch = list(self._proposals(opened, parent, ideas, verdict, wanted))
            if not batch:
                break
            answers = await asyncio.gather(
                *(ctx.ask(p, name=f"proposal-{p.index}", about=p.candidate) for p in batch)
            )
            for proposal, answer in zip(batch, answers, strict=True):
                await verdict.add(proposal, answer)
        await ctx.emit(
            RoundDesigned(
                round=opened.round,
                parent=parent.id,
                accepted=tuple(verdict.accepted),
                duplicates=tuple(verdict.duplicates),
                abandoned=tuple(verdict.abandoned),
            )
        )

    def give_up(self, cause: Event, error: str) -> list[Event]:
        """A round without designs."""
        assert isinstance(cause, RoundOpened)
        return [RoundDesigned(round=cause.round, parent="", accepted=(), duplicates=(), abandoned=())]

    async def _choose_parent(
        self, ctx: AgentContext, opened: RoundOpened, settings: CampaignSettings
    ) -> Candidate:
        tree = ctx.views.tree
        strategy = "random" if settings.search.proposer == "off" else settings.search.strategy
        nodes = list(_nodes(ctx, opened.visible, settings.search.objective))
        expansions: dict[str, int] = {}
        for _, chosen in tree.parents_chosen(ctx.view):
            expansions[chosen] = expansions.get(chosen, 0) + 1
        choice: Choice = choose_parent(
            strategy,
            nodes,
            expansions,
            opened.round,
            ctx.rng("parent", settings.seed),
            spent=_spent(ctx, expansions) if settings.search.reader == "on" else (),
        )
        await ctx.emit(
            ParentChosen(round=opened.round, parent=choice.parent, strategy=strategy, reason=choice.reason)
        )
        parent = tree.candidate(choice.parent, ctx.view)
        assert parent is not None
        return parent

    async def _rank_ideas(
        self, ctx: AgentContext, opened: RoundOpened, parent: Candidate, settings: CampaignSettings
    ) -> list[Idea]:
        """Ideas for the parent, best first."""
        if settings.search.reader == "own-ideas":
            return await self._own_ideas(ctx, opened, parent, settings)
        if settings.search.reader == "fixed-list":
            ideas, levels = _fixed_list(ctx, settings, parent.id), ["own idea"] * len(SIMPLE_EDITS)
        else:
            ideas, levels = self._retrieve(ctx, opened, parent, settings)
        by, ranked = "drawn at random", ideas
        if settings.search.proposer == "on" and ideas:
            by, ranked = await self._ranked_by_model(ctx, opened, parent, ideas, settings)
        await ctx.emit(
            InspirationsRanked(
                round=opened.round,
                parent=parent.id,
                retrieved=tuple(i.id for i in ideas),
                levels=tuple(levels),
                ranking=tuple(i.id for i in ranked),
                by=by,
            )
        )
        return ranked

    def _retrieve(
        self, ctx: AgentContext, opened: RoundOpened, parent: Candidate, settings: CampaignSettings
    ) -> tuple[list[Idea], list[str]]:
        """Inspirations at different levels of similarity to what was tried, none used for this parent
        before.
        """
        knowledge = ctx.views.knowledge
        ids, vectors = knowledge.matrix(ctx.view)
        used = knowledge.used(parent.id, ctx.view)
        available = [i for i, identity in enumerate(ids) if identity not in used]
        rng = ctx.rng("inspirations", settings.seed)
        if settings.search.proposer == "off":
            picks = [
                (i, "drawn") for i in rng.sample(available, min(len(available), settings.search.retrieved))
            ]
        else:
            past = [Past(row.vector, _weight(row)) for row in knowledge.lessons(ctx.view, opened.visible)]
            found = retrieve(vectors, available, past, settings.search, rng)
            picks = [(r.index, r.level) for r in found]
        ideas = []
        for index, _ in picks:
            row = knowledge.inspiration(ids[index], ctx.view)
            assert row is not None
            source = ", ".join(str(part) for part in (row.title, row.year, row.ref) if part)
            ideas.append(Idea(row.id, row.text, source))
        return ideas, [level for _, level in picks]

    async def _ranked_by_model(
        self,
        ctx: AgentContext,
        opened: RoundOpened,
        parent: Candidate,
        ideas: list[Idea],
        settings: CampaignSettings,
    ) -> tuple[str, list[Idea]]:
        assert parent.design is not None
        variables: dict[str, Variable] = {
            "language": language_reference(Role.CELL),
            "block": labelled(ctx.text(parent.design)),
            "inspirations": "\n".join(f"[{i.id}] {i.text}" for i in ideas),
            "experience": history_lines(ctx, opened.visible, settings.search.lessons),
            "count": len(ideas),
        }
        by_id = {i.id: i for i in ideas}
        try:
            answer = await ask_model(ctx, settings, "rank_inspirations", variables, name="rank", ids=by_id)
        except NoAnswer as failure:
            return f"order of retrieval, because the model gave no ranking ({failure.kind})", ideas
        named = [by_id[i] for i in dict.fromkeys(answer.ids) if i in by_id]
        return "model", [*named, *(i for i in ideas if i not in named)]

    async def _own_ideas(
        self, ctx: AgentContext, opened: RoundOpened, parent: Candidate, settings: CampaignSettings
    ) -> list[Idea]:
        """Ideas of the model's own, without literature (the ablation `reader = "own-ideas"`), none that was
        proposed for this parent before.
        """
        assert parent.design is not None
        variables: dict[str, Variable] = {
            "language": language_reference(Role.CELL),
            "block": labelled(ctx.text(parent.design)),
            "history": tried_lines(ctx, parent, opened.visible, settings.search.lessons),
            "count": settings.search.retrieved,
        }
        try:
            answer = await ask_model(ctx, settings, "propose_freely", variables, name="own-ideas")
            used = [child.suggestion for child in ctx.views.tree.children(parent.id, ctx.view)]
            texts = new_ones(answer.proposals, used)[: settings.search.retrieved]
            ideas = [Idea(f"{OWN}-{opened.round}-{n}", text) for n, text in enumerate(texts, 1)]
            by = "model" if ideas else "model, which named only what had been proposed for this parent"
            if settings.search.proposer == "off":
                ctx.rng("own-ideas", settings.seed).shuffle(ideas)
                by = "drawn at random"
        except NoAnswer as failure:
            ideas = _fixed_list(ctx, settings, parent.id)
            by = f"the fixed list, because the model proposed nothing ({failure.kind})"
        await ctx.emit(
            InspirationsRanked(
                round=opened.round,
                parent=parent.id,
                retrieved=(),
                levels=(),
                ranking=tuple(i.id for i in ideas),
                by=by,
            )
        )
        return ideas

    def _proposals(
        self, opened: RoundOpened, parent: Candidate, ideas: Iterator[Idea], verdict: "_Verdict", wanted: int
    ) -> Iterator[ProposalMade]:
        """The next proposals, as many as are still wanted."""
        missing = wanted - len(verdict.accepted)
        for number, idea in zip(range(missing), ideas, strict=False):
            index = verdict.proposed + 1 + number
            yield ProposalMade(
                candidate=f"r{opened.round}-{index}",
                round=opened.round,
                index=index,
                parent=parent.id,
                inspiration=idea.id,
                suggestion=idea.text,
                paper=idea.paper,
                visible=opened.visible,
            )


class _Verdict:
    """Decides a round's designs in the order of their index, so that timing has no part in it."""

    def __init__(self, ctx: AgentContext, round: int) -> None:
        self._ctx = ctx
        self._round = round
        self._seen: dict[str, str] = {}
        self.accepted: list[str] = []
        self.duplicates: list[str] = []
        self.abandoned: list[str] = []

    @property
    def proposed(self) -> int:
        return len(self.accepted) + len(self.duplicates) + len(self.abandoned)

    async def add(self, proposal: ProposalMade, answer: Envelope) -> None:
        ready = answer.event
        if not isinstance(ready, DesignReady):
            self.abandoned.append(proposal.candidate)
            return
        earlier = self._ctx.views.tree.by_digest(ready.digest, self._ctx.view, before=(self._round, 0))
        original = earlier.id if earlier is not None else self._seen.get(ready.digest)
        if original is None:
            self._seen[ready.digest] = proposal.candidate
            self.accepted.append(proposal.candidate)
            return
        self.duplicates.append(proposal.candidate)
        await self._ctx.emit(
            DuplicateRecognised(candidate=proposal.candidate, original=original, digest=ready.digest),
            about=proposal.candidate,
            name=f"duplicate-{proposal.index}",
        )


def _nodes(ctx: AgentContext, visible: int, objective: str) -> Iterator[Node]:
    """The root, then every accepted candidate whose result may be seen."""
    tree = ctx.views.tree
    depths: dict[str, int] = {}
    for candidate in tree.originals(ctx.view, max(visible, 0)):
        root = candidate.parent is None
        seen = candidate.trained and candidate.round <= visible
        if root or seen:
            depths[candidate.id] = 0 if root else depths.get(candidate.parent or "", 0) + 1
            score = tree.score(candidate, objective) if seen else None
            yield Node(
                candidate.id,
                candidate.parent,
                depths[candidate.id],
                score,
                (candidate.round, candidate.index),
            )


def _accepted_before(ctx: AgentContext) -> int:
    return sum(
        len(state.designed.accepted)
        for state in ctx.views.tree.rounds(ctx.view)
        if state.designed is not None
    )


def _fixed_list(ctx: AgentContext, settings: CampaignSettings, parent: str) -> list[Idea]:
    """The simple edits in an order of chance; those that were tried on the parent come last."""
    ideas = [Idea(f"{OWN}-edit-{n}", text) for n, text in enumerate(SIMPLE_EDITS, 1)]
    ctx.rng("fixed-list", settings.seed).shuffle(ideas)
    used = ctx.views.knowledge.used(parent, ctx.view)
    return sorted(ideas, key=lambda idea: idea.id in used)


def new_ones(proposals: Iterable[str], used: Iterable[str]) -> list[str]:
    """Each proposal once, in its order, and none that was used before."""
    met = {_plain(text) for text in used}
    first: dict[str, str] = {}
    for text in proposals:
        first.setdefault(_plain(text), text)
    return [text for plain, text in first.items() if plain not in met]


def _plain(text: str) -> str:
    """A sentence but for its capitals, spaces and punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _weight(lesson: LessonRow) -> float:
    """What a suggestion gained, as retrieval counts it: a training that failed hurt more than any loss of
    accuracy; a suggestion of which no design came was tried, and nobody knows what it would have done.
    """
    if lesson.gain is not None:
        return lesson.gain
    return -math.inf if lesson.outcome == "failed" else 0.0


def _spent(ctx: AgentContext, worked_on: Iterable[str]) -> set[str]:
    """Nodes for which every inspiration has been proposed."""
    knowledge = ctx.views.knowledge
    known = knowledge.count(ctx.view)
    return {node for node in worked_on if len(knowledge.used(node, ctx.view)) >= known}
