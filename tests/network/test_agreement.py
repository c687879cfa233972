"""The verifier accepts exactly the blocks that build and run in PyTorch."""

import dataclasses
import json
import random
from contextlib import suppress
from fractions import Fraction

import pytest
import torch

from nader.graph import BlockError, ProblemCode, Role, Site, check, make_node, parse, verify
from nader.network import get_skeleton, sites_of
from tests.conftest import shared_data
from tests.graph import strategies
from tests.network import agreement
from tests.network.agreement import disagreements, misreadings
from tests.network.oracle import complaint
from tests.network.random_blocks import edited, random_graph, to_text
from tests.network.reading import Refused, read

ROLE_OF = {"base_block": Role.CELL, "stem_block": Role.STEM, "downsample_block": Role.DOWNSAMPLE}
SIZES = ((128, 4, 4), (64, 4, 8), (32, 8, 4), (16, 8, 8), (12, 4, 8), (20, 6, 4))
STRIDES = {Role.CELL: (1,), Role.STEM: (1, 4), Role.DOWNSAMPLE: (2,)}


@pytest.fixture(autouse=True)
def _quick_on_tiny_tensors():
    threads, library = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(1)
    torch.backends.mkldnn.enabled = False
    yield
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = library


def _sites(role: Role, stride: int) -> list[Site]:
    """Several widths and image sizes, C and dim related as in a network and not."""
    if role is Role.CELL:
        return [Site(role, c, c, h, w) for c, h, w in SIZES]
    scale = Fraction(1, stride)
    if role is Role.STEM:
        places = [Site(role, 3, c, h, w, scale) for c, h, w in SIZES]
        return [*places, Site(role, 1, 8, 8, 8, scale)]
    return [*(Site(role, c, 2 * c, h, w) for c, h, w in SIZES), Site(role, 16, 40, 8, 8)]


def _draft_texts() -> list[tuple[str, Role, str]]:
    drafts = json.loads(shared_data("data/nader-official/llm_drafts.json").read_text())
    return [
        (f"draft {number} {key} {name}", ROLE_OF[name], text)
        for number, draft in enumerate(drafts)
        for key in ("blocks", "repaired_blocks")
        for name, text in (draft.get(key) or {}).items()
        if text
    ]


def _block_texts() -> list[tuple[str, Role, str]]:
    found = []
    for path in sorted(shared_data("data/nader-official/blocks").glob("*.txt")):
        parts = ["##" + part for part in path.read_text().split("\n##")]
        parts[0] = parts[0].removeprefix("##")
        if len(parts) == 3:
            roles = (Role.CELL, Role.STEM, Role.DOWNSAMPLE)
        else:
            roles = (next(role for name, role in _NAMED.items() if name in path.name),)
        found += [(f"{path.name} {role}", role, part) for role, part in zip(roles, parts, strict=True)]
    return found


_NAMED = {"mf-downsample": Role.DOWNSAMPLE, "mf-stem": Role.STEM, "mf-base": Role.CELL}


def test_verifier_and_pytorch_agree_on_every_draft_a_model_really_wrote():
    _agree(_draft_texts())


def test_verifier_and_pytorch_agree_on_every_published_block():
    _agree(_block_texts())


def test_the_drafts_that_run_in_pytorch_and_only_a_rule_of_the_language_refuses_are_these():
    """LN and Linear along a side of the map, which PyTorch runs at one size of image."""
    skeleton, found = get_skeleton("nader"), []
    for name, role, text in _draft_texts():
        sites = sites_of(skeleton, role, 16)
        if ProblemCode.CHANNELS_LAST not in {problem.code for problem in check(text, role, sites).problems}:
            continue
        with suppress(Refused):
            graph = read(text)
            places = [(graph, s.C, s.dim, s.H, s.W, s.stride) for s in sites]
            assert all(complaint(*place) for place in places)
            if not any(complaint(*place, channels_last=False) for place in places):
                found.append(name)
    assert len(found) == 7, found
    assert all(name.split()[2] == "blocks" for name in found), found


def _agree(texts: list[tuple[str, Role, str]]) -> None:
    assert len(texts) > 40
    wrong = [
        f"{name}: {line}"
        for name, role, text in texts
        for stride in STRIDES[role]
        for line in disagreements(text, role, _sites(role, stride), may_skip=False)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_comparison_catches_a_false_valid_and_a_false_invalid(monkeypatch):
    right = "##a##\n0:input\n1:output\n2:ReLU\n0->2->1\n"
    wrong = right.replace("ReLU", "Conv2d(out_channels=C+1,kernel_size=1)")
    sites = _sites(Role.CELL, 1)
    assert not disagreements(right, Role.CELL, sites)
    assert not disagreements(wrong, Role.CELL, sites)

    def inverted(block, role, sites):
        verdict = verify(block, role, sites)
        return dataclasses.replace(verdict, ok_sites=~verdict.ok_sites)

    monkeypatch.setattr(agreement, "verify", inverted)
    assert [
        "refuses it" in line and "runs it" in line for line in disagreements(right, Role.CELL, sites)
    ] == [True] * 6
    assert [
        "accepts it" in line and "output (2, " in line for line in disagreements(wrong, Role.CELL, sites)
    ] == [True] * 6


def test_the_comparison_catches_a_module_that_does_not_run(monkeypatch):
    def rounding(block, site):
        return lowered(
            block.replace(nodes=[make_node(2, "AvgPool2d", kernel_size=2), *block.nodes[:2]]), site
        )

    lowered = agreement.build
    monkeypatch.setattr(agreement, "build", rounding)
    right = "##a##\n0:input\n1:output\n2:ReLU\n0->2->1\n"
    found = disagreements(right, Role.CELL, _sites(Role.CELL, 1)[:1])
    assert len(found) == 1
    assert "PyTorch: the module fails" in found[0]


def _misread(monkeypatch, name, replacement) -> str:
    monkeypatch.setattr(agreement, name, replacement)
    blocks = [strategies.random_draft(random.Random(seed)) for seed in range(5)]
    return "\n".join(line for block in blocks for line in misreadings(random.Random(1), block, Role.CELL))


def test_the_comparison_catches_a_digest_that_says_too_little_or_too_much(monkeypatch):
    assert not _misread(monkeypatch, "digest", agreement.digest)
    assert "digest and networkx differ" in _misread(monkeypatch, "digest", lambda block, role=None: "same")
    assert "another digest" in _misread(monkeypatch, "digest", lambda block, role=None: str(block))


def test_the_comparison_catches_a_print_and_a_wording_that_read_otherwise(monkeypatch):
    other = "##a##\n0:input\n1:output\n0->1\n"
    assert "printed block" in _misread(monkeypatch, "print_block", lambda block: other)
    assert "order of arguments" in _misread(monkeypatch, "with_arguments_shuffled", lambda rng, block: other)
    assert "another graph" in _misread(monkeypatch, "rewritten", lambda rng, block: parse(other))


def _random_case(seed: int) -> tuple[str, Role, list[Site]]:
    """A block and two places for it, by one of two generators of different habits."""
    rng = random.Random(seed)
    role = rng.choice((Role.CELL, Role.CELL, Role.DOWNSAMPLE, Role.STEM))
    stride = rng.choice(STRIDES[role])
    if rng.random() < 0.5:
        block = strategies.random_draft(rng, role, stride if role is Role.STEM else None)
        scale = stride if role is Role.STEM else None
        return str(block), role, [strategies.random_site(rng, role, scale) for _ in range(2)]
    graph = random_graph(rng, stride)
    if rng.random() < 0.4:
        graph = edited(rng, graph)
    return to_text(graph), role, [_random_site(rng, role, stride) for _ in range(2)]


def _random_site(rng: random.Random, role: Role, stride: int) -> Site:
    channels, dim = rng.choice((2, 4, 6, 8)), rng.choice((2, 3, 4, 6, 8))
    height, width = 4 * rng.choice((1, 2)) - rng.choice((0, 0, 1)), 4 * rng.choice((1, 2))
    return Site(role, channels, channels if role is Role.CELL else dim, height, width, Fraction(1, stride))


def check_seeds(first: int, last: int) -> list[str]:
    """Everything that does not hold for the random blocks of these seeds, with the block: verifier and built
    module agree with PyTorch, print and reader with each other, digests with networkx."""
    found = []
    for seed in range(first, last):
        text, role, sites = _random_case(seed)
        wrong = disagreements(text, role, sites)
        with suppress(BlockError):  # of a text that is no block there is nothing more to say
            wrong += misreadings(random.Random(seed), parse(text), role)
        found += [f"seed {seed}, {role}\n{text}\n{line}" for line in wrong]
    return found


@pytest.mark.parametrize("chunk", range(20))
def test_verifier_and_pytorch_agree_on_random_blocks(chunk):
    wrong = check_seeds(chunk * 250, (chunk + 1) * 250)
    assert not wrong, f"{len(wrong)} disagreements, the first:\n{wrong[0]}"


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(200))
def test_verifier_and_pytorch_agree_on_two_hundred_thousand_random_blocks(chunk):
    wrong = check_seeds(chunk * 1000, (chunk + 1) * 1000)
    assert not wrong, f"{len(wrong)} disagreements, the first:\n{wrong[0]}"


def test_published_blocks_of_two_inputs_are_refused_and_the_others_work_somewhere():
    for name, role, text in _block_texts():
        try:
            works = any(
                verify(parse(text), role, _sites(role, stride)).ok_sites.any() for stride in STRIDES[role]
            )
        except BlockError:
            works = False
        two_inputs = "input2" in text
        assert works != two_inputs or _needs_wide(text), name


def _needs_wide(text: str) -> bool:
    return "groups=32" in text
