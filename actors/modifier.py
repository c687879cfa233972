"""The Modifier writes a design: first the cell, then the stem and downsample block that go with it (paper
§3.4.1).

Every draft goes through the verifier at once, and its report goes back to the model (learning from immediate
feedback, §3.4.2): at most `tries` drafts a start and `rounds` fresh starts, then the proposal is abandoned.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from actors.actor import Agent, handles
from actors.asking import NoAnswer, Variable, Vectors, ask_model, embed, settings_at
from actors.context import AgentContext
from actors.network import (
    NO_OP,
    NO_WIDTH,
    Checked,
    check,
    choose_width,
    design_from,
    oversize,
    skeleton_of,
)
from actors.texts import experience_lines
from events import Event
from events.development import DesignAbandoned, DesignReady, DraftAccepted, DraftRejected
from events.research import ProposalMade
from nader.graph import (
    BASE_DESIGNS,
    Block,
    Design,
    Role,
    base_design,
    digest,
    language_reference,
    print_block,
)
from nader.network import Skeleton
from nader.settings import CampaignSettings
from store.projections.tree import Candidate

LONGEST_TRIED = 4000
"""Characters of an earlier draft, and of what was found in it, in the question of a repair. The longest of
the reference implementation's 79 published drafts has 1,368.
"""


class Abandoned(Exception):
    """No admissible design came of a proposal."""

    def __init__(self, category: str, reason: str) -> None:
        super().__init__(reason)
        self.category = category


@dataclass
class _Task:
    """One proposal, and what the Modifier knows for it."""

    ctx: AgentContext
    proposal: ProposalMade
    settings: CampaignSettings
    skeleton: Skeleton
    parent: Candidate
    design: Design
    classes: int
    blocks: dict[Role, Block] = field(default_factory=dict)
    """What has been accepted so far."""
    vector: Vectors | None = None
    drafts: int = 0
    last_codes: tuple[str, ...] = field(default=())
    no_answer: NoAnswer | None = None
    """Why the model gave no usable answer in the last start that ended so."""

    def experience(self, *roles: Role) -> str:
        """Experiences with blocks of these roles for the prompt, the most similar suggestions first; from
        rounds that this proposal may see.
        """
        wanted = self.settings.modifier.experiences
        if self.vector is None or wanted == 0:
            return experience_lines([])
        pool, at, visible = self.ctx.views.experience, self.ctx.view, self.proposal.visible
        rows = [
            row
            for role in roles
            for row in pool.nearest(self.vector, wanted, at, visible=visible, role=role.value)
        ]
        return experience_lines(sorted(rows, key=lambda row: (-row.similarity, row.id))[:wanted])


@contextmanager
def _one_start(task: _Task) -> Iterator[None]:
    """A start that ends where the model gives no usable answer; the next one asks afresh."""
    try:
        yield
    except NoAnswer as failure:
        if not failure.may_pass:
            raise
        task.no_answer = failure


def _given_up(task: _Task, missing: str) -> Abandoned | NoAnswer:
    """Why there is no design after all starts."""
    if task.no_answer is not None and not task.last_codes:
        return task.no_answer
    category = task.last_codes[0] if task.last_codes else "invalid"
    return Abandoned(
        category, f"no {missing} block verified in {task.drafts} drafts; the last had: {category}"
    )


class Modifier(Agent):
    """Turns proposals into verified designs."""

    name = "modifier"
    answered = (ProposalMade.__name__,)

    def __init__(self, concurrency: int = 8) -> None:
        self.concurrency = concurrency

    @handles(ProposalMade)
    async def on_proposal(self, ctx: AgentContext, proposal: ProposalMade) -> None:
        """Write, verify and size the design of one proposal."""
        task = await self._task(ctx, proposal)
        try:
            cell = await self._write_cell(task)
            stem, downsample = await self._write_stem_and_downsample(task, cell)
            design = Design(cell, stem, downsample)
            choice = choose_width(design, task.skeleton, task.settings, task.classes)
        except NoAnswer as failure:
            await self._abandon(task, "llm", f"the model gave no usable answer ({failure.kind}): {failure}")
        except Abandoned as abandoned:
            await self._abandon(task, abandoned.category, str(abandoned))
        else:
            await ctx.emit(
                DesignReady(
                    candidate=proposal.candidate,
                    design=ctx.put(design.to_text()),
                    digest=design.digest,
                    width=choice.width,
                    params=choice.cost.params,
                    macs=choice.cost.macs,
                    attempts=task.drafts,
                )
            )

    def give_up(self, cause: Event, error: str) -> list[Event]:
        """An abandoned proposal."""
        assert isinstance(cause, ProposalMade)
        return [DesignAbandoned(candidate=cause.candidate, category="handler", reason=error, attempts=0)]

    async def _task(self, ctx: AgentContext, proposal: ProposalMade) -> _Task:
        settings = settings_at(ctx)
        parent = ctx.views.tree.candidate(proposal.parent, ctx.view)
        assert parent is not None and parent.design is not None
        ground = ctx.views.status.ground(ctx.under)
        task = _Task(
            ctx,
            proposal,
            settings,
            skeleton_of(settings, ground.image),
            parent,
            design_from(ctx.text(parent.design)),
            ground.classes,
        )
        if settings.modifier.experiences:
            task.vector = ctx.views.knowledge.vector_of(proposal.inspiration)
            if task.vector is None:
                embedded = await embed(ctx, settings, [proposal.suggestion], name="suggestion")
                task.vector = None if embedded is None else embedded.vectors[0]
        return task

    async def _abandon(self, task: _Task, category: str, reason: str) -> None:
        await task.ctx.emit(
            DesignAbandoned(
                candidate=task.proposal.candidate, category=category, reason=reason, attempts=task.drafts
            )
        )

    # ---- the cell

    async def _write_cell(self, task: _Task) -> Block:
        """A verified cell that follows the suggestion and is not its parent's."""
        variables: dict[str, Variable] = {
            "language": language_reference(Role.CELL),
            "block": print_block(task.design.cell),
            "inspiration": task.proposal.suggestion,
            "experience": task.experience(Role.CELL),
        }

        async def first(start: int) -> str:
            answer = await ask_model(
                task.ctx, task.settings, "modify_cell", variables, name=f"cell/{start}/1"
            )
            text: str = answer.text
            return text

        return await self._until_valid(task, Role.CELL, first)

    async def _until_valid(self, task: _Task, role: Role, first: Callable[[int], Awaitable[str]]) -> Block:
        """Fresh starts, each with its repairs, until a draft verifies. Raises `Abandoned` or `NoAnswer`."""
        for start in range(1, task.settings.modifier.rounds + 1):
            with _one_start(task):
                block = await self._repaired(task, role, start, await first(start))
                if block is not None:
                    return block
        raise _given_up(task, role.value)

    async def _repaired(self, task: _Task, role: Role, start: int, draft: str) -> Block | None:
        """The draft, or a repair of it, that verifies; None after `tries` of them."""
        tries = task.settings.modifier.tries
        tried: list[tuple[str, str]] = []
        for attempt in range(1, tries + 1):
            checked = self._check(task, role, draft)
            await self._record(task, role, start, attempt, draft, checked)
            if checked.block is not None:
                task.blocks[role] = checked.block
                return checked.block
            if attempt < tries:
                variables = _to_repair(task, role, tried, draft, checked.report)
                tried.append((draft, checked.report))
                name = f"{role.value}/{start}/{attempt + 1}"
                draft = (await ask_model(task.ctx, task.settings, "repair", variables, name=name)).text
        return None

    def _check(self, task: _Task, role: Role, draft: str) -> Checked:
        checked = check(draft, role, task.skeleton)
        if checked.block is None:
            return checked
        if role is Role.CELL and _cell_digest(checked.block) == _cell_digest(task.design.cell):
            report = (
                "This block is the one that was to be modified, unchanged (it computes the same). "
                f"Change it so that it follows the suggestion: {task.proposal.suggestion}"
            )
            return Checked(None, report, (NO_OP,))
        blocks = {**task.blocks, role: checked.block}
        refusal = oversize(blocks, task.design, task.skeleton, task.settings, task.classes)
        if refusal is not None:
            report = (
                "This block meets the definition, but no network with it keeps within the limits: "
                f"{refusal}. Make it cost less: fewer channels, grouped or depthwise convolutions, "
                "smaller kernels."
            )
            return Checked(None, report, (NO_WIDTH,))
        return checked

    async def _record(
        self, task: _Task, role: Role, start: int, attempt: int, draft: str, checked: Checked
    ) -> None:
        ctx, candidate = task.ctx, task.proposal.candidate
        task.drafts += 1
        task.last_codes = checked.codes
        name = f"draft/{role.value}/{start}/{attempt}"
        if checked.block is not None:
            accepted = DraftAccepted(
                candidate=candidate,
                role=role.value,
                round=start,
                attempt=attempt,
                block=ctx.put(checked.text),
                notes=checked.notes,
            )
            await ctx.emit(accepted, name=name)
            return
        rejected = DraftRejected(
            candidate=candidate,
            role=role.value,
            round=start,
            attempt=attempt,
            draft=ctx.put(draft),
            problems=ctx.put(checked.report),
            codes=checked.codes,
        )
        await ctx.emit(rejected, name=name)

    # ---- stem and downsample

    async def _write_stem_and_downsample(self, task: _Task, cell: Block) -> tuple[Block, Block]:
        """The two blocks that go with the cell: one question, then each repaired by itself."""
        variables: dict[str, Variable] = {
            "language": language_reference(Role.STEM, Role.DOWNSAMPLE),
            "cell": print_block(cell),
            "examples": _examples(task.design),
            "stem_scale": Fraction(1, task.skeleton.stem_stride),
            "experience": task.experience(Role.STEM, Role.DOWNSAMPLE),
        }
        found = task.blocks
        for start in range(1, task.settings.modifier.rounds + 1):
            name = f"stem-and-downsample/{start}"
            with _one_start(task):
                pair = await ask_model(
                    task.ctx, task.settings, "design_stem_and_downsample", variables, name=name
                )
                for role, text in ((Role.STEM, pair.stem), (Role.DOWNSAMPLE, pair.downsample)):
                    if role not in found:
                        await self._repaired(task, role, start, text)
            if len(found) == len(Role):
                return found[Role.STEM], found[Role.DOWNSAMPLE]
        missing = " and ".join(role.value for role in (Role.STEM, Role.DOWNSAMPLE) if role not in found)
        raise _given_up(task, missing)


def _to_repair(
    task: _Task, role: Role, tried: list[tuple[str, str]], draft: str, problems: str
) -> dict[str, Variable]:
    """What the question of a repair contains: all that the draft's own question did, what was tried since in
    this start, and what is wrong now (paper Table A7, a dialogue).
    """
    scales = {Role.CELL: 1, Role.STEM: task.skeleton.stem_stride, Role.DOWNSAMPLE: 2}
    return {
        "language": language_reference(role),
        "role": role.value,
        "scale": Fraction(1, scales[role]),
        "suggestion": task.proposal.suggestion,
        "block": print_block(task.design.block(role)),
        "cell": "" if role is Role.CELL else print_block(task.blocks[Role.CELL]),
        "tried": "\n\n".join(
            f"Draft {number}:\n\n{_cut(text)}\n\nWhat the verifier found in draft {number}:\n\n{_cut(found)}"
            for number, (text, found) in enumerate(tried, 1)
        ),
        "draft": draft,
        "problems": problems,
    }


def _cut(text: str) -> str:
    """The text, or the beginning of one that is too long to be told again with every draft."""
    text = text.strip()
    return text if len(text) <= LONGEST_TRIED else f"{text[:LONGEST_TRIED]}…"


@lru_cache(maxsize=64)
def _examples(parent: Design) -> str:
    """The parent's blocks and a base design: cells with the stem and downsample block that match them."""
    bases = (base_design(name) for name in BASE_DESIGNS)
    other = next(base for base in bases if base.digest != parent.digest)
    return f"{parent.to_text()}\n\n{other.to_text()}"


@lru_cache(maxsize=256)
def _cell_digest(cell: Block) -> str:
    """As a cell, where dim is C."""
    return digest(cell, Role.CELL)
