"""What the block language costs: verifying, comparing, looking up duplicates, choosing a width.

    python benchmarks/graph.py

Needs no data: where the real drafts lie in $NADER_SHARED (or in `shared` beside the repository) they are
timed, else the base designs are. Every figure is a median over repetitions with the middle 80 % beside it; a
fixed piece of arithmetic, timed after each row against the quietest seen, shows how noisy the machine was.
Compare ratios rather than milliseconds.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import networkx as nx

from nader.graph import (
    BASE_DESIGNS,
    Block,
    BlockError,
    Design,
    DuplicateIndex,
    GraphError,
    Role,
    Sites,
    base_design,
    check,
    digest,
    from_nas_bench_201,
    node_label,
    parse,
    parse_all,
    print_block,
    probe_sites,
    to_svg,
    verify,
)
from nader.network import build_network, get_skeleton, search_width, sites_of, verify_design
from nader.network.search import forget
from nader.network.skeleton import Skeleton

INDEXED = 10_000
SCANNED = 1_000
ROLE_OF = {"base_block": Role.CELL, "stem_block": Role.STEM, "downsample_block": Role.DOWNSAMPLE}
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def main() -> None:
    """Prints one table."""
    drafts, design, source = _inputs()
    print(f"drafts: {source}; design: {len(design.cell.nodes)} nodes\n")
    print(f"{'':56}{'median':>11}{'10 %':>11}{'90 %':>11}{'noise':>8}")
    _reading_and_verifying(drafts, design)
    _duplicates()
    _width_search(design)
    _hostile()


def _inputs() -> tuple[list[tuple[str, Role]], Design, str]:
    """Texts with their roles, and the largest design there is."""
    for root in (os.environ.get("NADER_SHARED"), Path(__file__).resolve().parents[2] / "shared"):
        folder = Path(root or "") / "data" / "nader-official"
        if root and folder.is_dir():
            written = json.loads((folder / "llm_drafts.json").read_text())
            drafts = [
                (text, ROLE_OF[name])
                for draft in written
                for name, text in draft["blocks"].items()
                if text and _readable(text)
            ]
            best = folder / "blocks" / "nas-bench-201-blocks-nasbench201_cifar100_acc76.txt"
            return drafts, Design(*parse_all(best.read_text())), f"{len(drafts)} that a model wrote"
    designs = [base_design(name) for name in BASE_DESIGNS]
    texts = [(print_block(block), role) for design in designs for role, block in design]
    return texts, max(designs, key=lambda design: len(design.cell.nodes)), "the base designs"


def _readable(text: str) -> bool:
    try:
        parse(text)
    except BlockError:
        return False
    return True


def _reading_and_verifying(drafts: list[tuple[str, Role]], design: Design) -> None:
    cell = print_block(design.cell)
    skeleton = get_skeleton("nas-bench-201")
    widths = skeleton.widths.all()
    everywhere = Sites(site for width in widths for site in sites_of(skeleton, Role.CELL, width))
    _row("parse a draft", [_timed(lambda t=text: parse(t)) for text, _ in drafts * 3])
    fresh = [(parse(text), role) for text, role in drafts * 3]  # anew: nothing of a block is known beforehand
    _row("verify a draft at the built-in sites", [_timed(lambda b=b, r=r: verify(b, r)) for b, r in fresh])
    blocks = [parse(cell) for _ in range(60)]
    sites = probe_sites(Role.CELL)
    _row(
        "verify the design's cell at the built-in sites",
        [_timed(lambda b=b: verify(b, Role.CELL, sites)) for b in blocks],
    )
    blocks = [parse(cell) for _ in range(60)]
    title = f"verify it at {len(widths)} widths, {len(everywhere)} places"
    _row(title, [_timed(lambda b=b: verify(b, Role.CELL, everywhere)) for b in blocks])
    blocks = [parse(cell) for _ in range(60)]
    _row(
        "digest of the design's cell", [_timed(lambda b=b: digest.__wrapped__(b, Role.CELL)) for b in blocks]
    )


def _duplicates() -> None:
    """Finding a block among many by its digest, and by asking networkx of one after the other."""
    blocks = list(itertools.islice(_cells(), INDEXED))
    index: DuplicateIndex[int] = DuplicateIndex()
    for number, block in enumerate(blocks):
        index.add(
            f"{number} {digest(block, Role.CELL)}", number
        )  # equal cells too, so that it holds them all
    wanted = [f"{number} {digest(blocks[number], Role.CELL)}" for number in range(0, INDEXED, INDEXED // 500)]
    found = [_timed(lambda d=d: index.find(d)) for d in wanted]
    look_up = _row(f"look a digest up among {INDEXED:,} blocks", found)
    target, *others = [_labelled(block) for block in (blocks[-1], *blocks[: SCANNED - 1])]
    per_pair = [_timed(lambda g=graph: _isomorphic(target, g)) for graph in others]
    _row("ask networkx whether two of them are isomorphic", per_pair)
    scan = statistics.fmean(per_pair) * INDEXED
    print(f"{f'  so a linear scan with VF2 (timed over {SCANNED:,})':56}{_readable_time(scan):>11}")
    print(f"{'  against the look-up':56}{scan / look_up:>10,.0f}x")


def _cells() -> Iterable[Block]:
    """NAS-Bench-201's cells."""
    for ops in itertools.product(OPERATIONS, repeat=6):
        a, b, c, d, e, f = ops
        yield from_nas_bench_201(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")


def _labelled(block: Block) -> nx.DiGraph:
    graph = nx.DiGraph(block.edges)
    for node in block.nodes:
        graph.add_node(node.index, label=node_label(node))
    return graph


def _isomorphic(first: nx.DiGraph, second: nx.DiGraph) -> bool:
    return nx.is_isomorphic(first, second, node_match=lambda a, b: a["label"] == b["label"])


def _width_search(design: Design) -> None:
    skeleton = get_skeleton("nader")
    text = design.to_text()
    times = []
    for fresh in [Design.from_text(text) for _ in range(40)]:
        forget()  # what is held of an equal block would not be measured
        times.append(_timed(lambda d=fresh: search_width(d, skeleton, 100)))
    closed = _row("width search, closed form", times)
    widths = verify_design(design, skeleton).widths
    chosen = search_width(design, skeleton, 100).width
    tried = [width for width in widths if width <= chosen] + [width for width in widths if width > chosen][:1]
    one = [_timed(lambda w=w: _count_module(design, skeleton, w)) for w in tried for _ in range(2)]
    _row("build a torch module and count it, one width", one)
    whole = [_timed(lambda: [_count_module(design, skeleton, w) for w in tried]) for _ in range(3)]
    built = _row(f"width search, a module for each of {len(tried)} widths", whole)
    print(f"{'  against the closed form':56}{built / closed:>10,.0f}x")


def _hostile() -> None:
    """The longest that any of a thousand hostile texts takes, in CPU time: to check, compare and draw."""
    if not (Path(__file__).resolve().parents[1] / "tests" / "graph" / "hostile.py").is_file():
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.graph.hostile import hostile_texts

    worst = {"check": 0.0, "digest": 0.0, "draw": 0.0}
    for text in hostile_texts():
        taken = {"check": _cpu(lambda t=text: check(t, Role.CELL))}
        try:
            block = parse(text)
        except BlockError:
            pass
        else:
            taken["digest"] = _cpu(lambda b=block: digest(b))
            taken["draw"] = _cpu(lambda b=block: to_svg(b))
        worst = {name: max(worst[name], taken.get(name, 0.0)) for name in worst}
    for name, seconds in worst.items():
        print(f"{f'the worst of 1,000 hostile texts, CPU time to {name}':56}{_readable_time(seconds):>11}")


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    with suppress(GraphError):
        work()
    return time.process_time() - start


def _count_module(design: Design, skeleton: Skeleton, width: int) -> tuple[int, int]:
    """Parameters and MACs of a built network, counted by running it on one image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    network = build_network(design, skeleton, width, 100).eval()
    image = skeleton.image
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, image.channels, image.height, image.width))
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _probe() -> float:
    """Seconds of a fixed piece of arithmetic."""
    return min(_timed(lambda: sum(i * i for i in range(20_000))) for _ in range(3))


_QUIET = min(_probe() for _ in range(5))


def _row(title: str, seconds: list[float]) -> float:
    """Prints one row; returns the median, in seconds."""
    ordered = sorted(seconds)
    low, median, high = (
        ordered[len(ordered) // 10],
        statistics.median(ordered),
        ordered[len(ordered) * 9 // 10],
    )
    figures = "".join(f"{_readable_time(value):>11}" for value in (low, median, high))
    low_text, median_text, high_text = figures[:11], figures[11:22], figures[22:]
    print(f"{title:56}{median_text}{low_text}{high_text}{_probe() / _QUIET:>7.2f}x", flush=True)
    return median


def _readable_time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.2f} µs" if seconds < 1e-4 else f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


if __name__ == "__main__":
    main()
