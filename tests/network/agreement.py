"""Puts the verifier and PyTorch side by side on one block."""

from __future__ import annotations

from collections.abc import Sequence

from nader.graph import BlockError, Role, Site, parse, verify
from tests.network.oracle import UNUSUAL, USUAL, Batches, TooLarge, complaint
from tests.network.reading import Graph, Refused, read


def _complaint(graph: Graph, site: Site, batches: Batches = USUAL) -> str | None:
    return complaint(graph, site.C, site.dim, site.H, site.W, site.stride, batches)


def disagreements(text: str, role: Role, sites: Sequence[Site], *, may_skip: bool = True) -> list[str]:
    """Each site at which the verifier and PyTorch differ, as a line that says what each of them said.

    `may_skip` leaves out sites whose tensors are beyond what a test should allocate.
    """
    try:
        verdict = verify(parse(text), role, sites)
        accepted, said = list(verdict.ok_sites), verdict.report()
    except BlockError as error:
        accepted, said = [False] * len(sites), str(error)
    try:
        graph, unreadable = read(text), None
    except Refused as error:
        graph, unreadable = None, str(error)
    found = []
    for site, ok in zip(sites, accepted, strict=True):
        try:
            reason = _complaint(graph, site) if graph else unreadable
            if graph and not ok and reason is None:
                reason = _complaint(graph, site, UNUSUAL)
        except TooLarge:
            if may_skip:
                continue
            raise
        if ok != (reason is None):
            place = f"C={site.C} dim={site.dim} H={site.H} W={site.W} stride={site.stride}"
            verifier = "accepts it" if ok else f"refuses it: {said}"
            found.append(f"{place}: the verifier {verifier}; PyTorch: {reason or 'runs it'}")
    return found
