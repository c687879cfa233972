"""Puts the verifier and PyTorch side by side on one block."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import torch

from nader.graph import Block, BlockError, Role, Site, digest, parse, print_block, verify
from nader.network import build
from tests.graph.isomorphism import isomorphic
from tests.graph.strategies import mutate, rewritten, with_arguments_shuffled
from tests.network.oracle import UNUSUAL, USUAL, Batches, TooLarge, complaint
from tests.network.reading import Graph, Refused, read


def _complaint(graph: Graph, site: Site, batches: Batches = USUAL) -> str | None:
    return complaint(graph, site.C, site.dim, site.H, site.W, site.stride, batches)


LARGE = 65
"""More than any size that a random block is made of, and odd."""


def built(block: Block, site: Site) -> str | None:
    """Why the module that `build` makes of a block does not run; None where it does, in a large batch too."""
    try:
        module = build(block, site)
        for batch, training in ((2, True), (1, False), (LARGE, False)):
            x = torch.randn(batch, site.C, site.H, site.W, requires_grad=training)
            y = module.train(training)(x)
            if y.shape != (batch, *site.output_shape):
                return f"the module gives {tuple(y.shape)} for a batch of {batch}"
            if training:
                y.sum().backward()
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return f"the module fails: {type(error).__name__}: {error}".splitlines()[0][:300]
    return None


def disagreements(text: str, role: Role, sites: Sequence[Site], *, may_skip: bool = True) -> list[str]:
    """Each site at which the verifier and PyTorch differ, as a line that says what each of them said.

    `may_skip` leaves out sites whose tensors are beyond what a test should allocate.
    """
    block: Block | None = None
    try:
        block = parse(text)
        verdict = verify(block, role, sites)
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
            if block and ok and reason is None:
                reason = built(block, site)
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


def misreadings(rng: Random, block: Block, role: Role) -> list[str]:
    """What of the language itself does not hold for a block and a random change of it: that its print reads
    back to it, that no other wording changes its digest, that digests are equal exactly for one graph."""
    found = []
    if parse(print_block(block)) != block:
        found.append("the printed block reads back to another")
    if parse(with_arguments_shuffled(rng, block)) != block:
        found.append("the order of arguments changes the block")
    other = rewritten(rng, block)
    if digest(other, role) != digest(block, role):
        found.append(f"another digest for the same block in other words:\n{other}")
    if not isomorphic(other, block):
        found.append(f"another graph for the same block in other words:\n{other}")
    changed = rewritten(rng, mutate(rng, block))
    if (digest(changed) == digest(block)) != isomorphic(changed, block):
        found.append(f"digest and networkx differ on whether this is the same block:\n{changed}")
    return found
