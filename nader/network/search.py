"""Which widths a design works at, and the largest of them within the limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nader.graph import Block, Design, Problem, Role, verify
from nader.network.cost import ROLES, Cost, Share, block_costs, costs, head_costs, share_of
from nader.network.errors import NoWidthError
from nader.network.skeleton import Limits, Skeleton, site_table


@dataclass(frozen=True)
class RoleVerdict:
    """What the verifier says of one block of a design over all widths of a skeleton."""

    role: Role
    widths: tuple[int, ...]
    """The widths at which it works at every place it stands in."""
    problems: tuple[Problem, ...]
    """What is wrong, where it is wrong."""
    notes: tuple[str, ...]
    """How its text was read."""
    share: Share | None = field(default=None, repr=False, compare=False)
    """Its share of the network's cost at each of `widths`; None for a block with problems."""

    @property
    def ok(self) -> bool:
        """Whether there is a width at which the block works everywhere it stands."""
        return bool(self.widths)

    def report(self) -> str:
        """The problems, numbered, for a language model; empty where there are none."""
        return _numbered(self.problems)


@dataclass(frozen=True)
class DesignVerdict:
    """What the verifier says of a design in a skeleton."""

    skeleton: str
    candidates: tuple[int, ...]
    """The widths the skeleton offers."""
    widths: tuple[int, ...]
    """The widths at which all three blocks work, ascending."""
    roles: tuple[RoleVerdict, ...]

    @property
    def ok(self) -> bool:
        """Whether there is a width at which the whole network runs."""
        return bool(self.widths)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of all blocks; those that concern only some widths are here too."""
        return tuple(problem for verdict in self.roles for problem in verdict.problems)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the texts were read, and which widths do not work."""
        notes = [f"{verdict.role.value}: {note}" for verdict in self.roles for note in verdict.notes]
        return (*notes, *(self._partly(verdict) for verdict in self.roles if self._is_partial(verdict)))

    def report(self) -> str:
        """The verdict as text for a language model or a person; empty where there is nothing to say."""
        parts = []
        for verdict in self.roles:
            if verdict.problems and not verdict.widths:
                parts.append(f"The {verdict.role.value} block does not work:\n{verdict.report()}")
            elif self._is_partial(verdict):
                parts.append(f"{self._partly(verdict)}\n{_numbered(verdict.problems)}")
        if not self.ok and all(verdict.widths for verdict in self.roles):
            parts.append("Each block works at some widths, but no width works for all three of them.")
        return "\n\n".join(parts)

    def _is_partial(self, verdict: RoleVerdict) -> bool:
        return 0 < len(verdict.widths) < len(self.candidates)

    def _partly(self, verdict: RoleVerdict) -> str:
        return (
            f"The {verdict.role.value} block works at {len(verdict.widths)} of {len(self.candidates)} widths "
            f"({_ranges(verdict.widths, self.candidates)})."
        )


def verify_design(design: Design, skeleton: Skeleton) -> DesignVerdict:
    """Verifies the three blocks of a design at every width and every place of a skeleton."""
    candidates = skeleton.widths.all()
    verdicts = tuple(
        verify_block(design.block(role), role, skeleton)
        for role in ROLES
        if site_table(skeleton, role, candidates) is not None
    )
    works = set(candidates).intersection(*(verdict.widths for verdict in verdicts))
    return DesignVerdict(skeleton.name, candidates, tuple(w for w in candidates if w in works), verdicts)


def verify_block(block: Block, role: Role, skeleton: Skeleton) -> RoleVerdict:
    """Verifies one block at every width and every place of its role in a skeleton.

    A role that the skeleton has no place for (a downsample block with a single stage) fits at every width.
    """
    try:
        verdict = _sound(block, role, skeleton)
    except _Unsound as unsound:
        verdict = unsound.verdict
    return replace(verdict, notes=tuple(map(str, block.notes)))


class _Unsound(Exception):
    """A block with problems. They name lines of its text, so they are not held for an equal block."""

    def __init__(self, verdict: RoleVerdict) -> None:
        super().__init__()
        self.verdict = verdict


@lru_cache(maxsize=512)
def _sound(block: Block, role: Role, skeleton: Skeleton) -> RoleVerdict:
    """The verdict on a block without problems, held because designs have many blocks in common."""
    candidates = skeleton.widths.all()
    sites = site_table(skeleton, role, candidates)
    if sites is None:
        return RoleVerdict(role, candidates, (), ())
    verdict = verify(block, role, sites)
    if verdict.problems:
        mask: NDArray[np.bool_] = np.all(verdict.ok_sites.reshape(len(candidates), -1), axis=1)
        raise _Unsound(RoleVerdict(role, _chosen(candidates, mask), tuple(verdict.problems), ()))
    return RoleVerdict(role, candidates, (), (), share_of(verdict, role, skeleton))


def forget() -> None:
    """Empty what is held of earlier blocks, so that a benchmark measures the work itself."""
    _sound.cache_clear()
    block_costs.cache_clear()


def _chosen(candidates: tuple[int, ...], mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(width for width, works in zip(candidates, mask, strict=True) if works)


def _numbered(problems: tuple[Problem, ...]) -> str:
    return "\n".join(f"{number}. {problem}" for number, problem in enumerate(problems, start=1))


def _ranges(widths: tuple[int, ...], candidates: tuple[int, ...]) -> str:
    """Widths as text; long runs of neighbours as `8 to 64`."""
    runs: list[list[int]] = []
    for width in widths:
        if runs and candidates.index(width) == candidates.index(runs[-1][-1]) + 1:
            runs[-1].append(width)
        else:
            runs.append([width])
    parts = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return ", ".join(parts if len(parts) <= 8 else [*parts[:7], "…", parts[-1]])


@dataclass(frozen=True)
class WidthChoice:
    """The width a network gets, and its cost there."""

    width: int
    cost: Cost


def search_width(
    design: Design, skeleton: Skeleton, classes: int, limits: Limits | None = None
) -> WidthChoice:
    """The largest width at which the design works within both limits (by default the skeleton's).

    Raises NoWidthError, with what stands in the way, where there is none, and SkeletonError for less than one
    class. Source: paper, appendix A1.1.
    """
    limits = skeleton.limits if limits is None else limits
    verdict = verify_design(design, skeleton)
    if not verdict.ok:
        raise NoWidthError(
            f"the design works at no width of the skeleton {skeleton.name}:\n{verdict.report()}"
        )
    params, macs = _costs(design, skeleton, verdict, classes)
    fits = np.ones(len(verdict.widths), dtype=bool)
    for values, limit in ((params, limits.params), (macs, limits.macs)):
        if limit is not None:
            fits &= values <= limit
    if not fits.any():
        least = Cost(int(params[0]), int(macs[0]))
        raise NoWidthError(
            f"at {verdict.widths[0]}, the smallest width at which it works, the design already costs "
            f"{least}; the limits are {_limits(limits)}"
        )
    best = int(np.flatnonzero(fits)[-1])
    return WidthChoice(verdict.widths[best], Cost(int(params[best]), int(macs[best])))


def _costs(design: Design, skeleton: Skeleton, verdict: DesignVerdict, classes: int) -> Share:
    """As `costs` at the widths of a verdict; what the verifier has already inferred is not inferred again."""
    if any(part.share is None for part in verdict.roles):
        return costs(design, skeleton, verdict.widths, classes)
    params, macs = head_costs(skeleton, verdict.widths, classes)
    for part in verdict.roles:
        assert part.share is not None
        params, macs = params + part.share[0], macs + part.share[1]
    return params, macs


def _limits(limits: Limits) -> str:
    parts = []
    if limits.params is not None:
        parts.append(f"{limits.params / 1e6:.4g} M parameters")
    if limits.macs is not None:
        parts.append(f"{limits.macs / 1e6:.4g} M MACs")
    return " and ".join(parts) or "open"
