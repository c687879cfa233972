"""How well the local embedder finds related suggestions, and how long a query and an import take.

    python -m benchmarks.retrieval

Reads the 5,411 published inspirations where they lie in $NADER_SHARED (or in `shared` beside the repository),
else the shipped ones. Three measures, each beside what chance gives:

- words: half of a suggestion's words (drawn, in order) must find the suggestion itself: mean reciprocal rank;
- edit:  of the ten nearest, the share that names the same architectural edit by rule (`edits_named_in`);
- paper: of the five nearest, the share that comes from the same paper.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from actors.retrieval import Past, retrieve
from nader.graph import edit_named_in
from nader.library import read
from nader.literature import load_inspirations, seed_inspirations
from nader.llm import HashedNgrams
from nader.settings import SearchSettings, load_settings
from nader.workspace import Workspace
from store.projections.vectors import VectorIndex

DIMENSIONS = (256, 1024, 4096)
QUERIES = 500
REPEATS = 50


def main() -> None:
    """Prints quality by dimension, then times."""
    path = listed()
    found = load_inspirations(path) if path else seed_inspirations()
    texts, papers = [one.text for one in found], [one.paper.ref for one in found]
    print(f"{len(texts):,} suggestions of {len(set(papers)):,} papers: {path or 'the shipped ones'}\n")
    kinds = [edit_named_in(text) for text in texts]
    print(f"{'dimension':>10}{'words, MRR':>12}{'edit, P@10':>12}{'paper, P@5':>12}")
    for dimension in DIMENSIONS:
        vectors = HashedNgrams(dimension).vectors(texts)
        edit, paper = alike(vectors, kinds, 10), alike(vectors, papers, 5)
        print(f"{dimension:>10}{words(dimension, vectors, texts):>12.3f}{edit:>12.3f}{paper:>12.3f}")
    print(f"{'chance':>10}{1 / len(texts):>12.3f}{chance(kinds):>12.3f}{chance(papers):>12.3f}\n")
    timing(texts)
    if path is not None:
        importing(path)


def listed() -> Path | None:
    """The published list; None where it is not on this machine."""
    for root in (os.environ.get("NADER_SHARED"), Path(__file__).parents[2] / "shared"):
        path = Path(root or "") / "data" / "nader-official" / "inspirations.json"
        if root and path.is_file():
            return path
    return None


def sample(count: int) -> list[int]:
    """The same queries each time."""
    return sorted(random.Random(0).sample(range(count), min(QUERIES, count)))


def words(dimension: int, vectors: np.ndarray, texts: list[str]) -> float:
    """Mean reciprocal rank of a suggestion among all, asked for by half of its words."""
    chance, ranks = random.Random(1), []
    for index in sample(len(texts)):
        said = texts[index].split()
        kept = sorted(chance.sample(range(len(said)), max(2, len(said) // 2)))
        query = HashedNgrams(dimension).vectors([" ".join(said[i] for i in kept)])[0]
        similarities = vectors @ query
        ranks.append(1 / (1 + int((similarities > similarities[index]).sum())))
    return statistics.fmean(ranks)


def alike(vectors: np.ndarray, labels: list[str | None], count: int) -> float:
    """The share of the nearest that have a query's label; queries without a label or fellow are left out."""
    members = Counter(labels)
    shares = []
    for index in sample(len(labels)):
        label = labels[index]
        if label is None or members[label] < 2:
            continue
        similarities = vectors @ vectors[index]
        similarities[index] = -np.inf
        nearest = np.argsort(-similarities, kind="stable")[:count]
        shares.append(sum(labels[i] == label for i in nearest) / min(count, members[label] - 1))
    return statistics.fmean(shares)


def chance(labels: list[str | None]) -> float:
    """What a random neighbour gives for the same queries."""
    members = Counter(labels)
    wanted = [labels[i] for i in sample(len(labels))]
    shares = [(members[k] - 1) / (len(labels) - 1) for k in wanted if k is not None and members[k] > 1]
    return statistics.fmean(shares)


def timing(texts: list[str]) -> None:
    """Times of a query at 1,024 dimensions: of the processor, and by the clock, which other work disturbs."""
    embedder = HashedNgrams(1024)
    began = time.perf_counter()
    vectors = embedder.vectors(texts)
    print(f"embedding all: {time.perf_counter() - began:.2f} s\n")
    index: VectorIndex[str] = VectorIndex(1024)
    for number, vector in enumerate(vectors):
        index.add(f"{number:05}", vector, number)
    queries = iter(sample(len(texts)) * REPEATS)
    past = [
        Past(vectors[i], gain) for i, gain in zip(sample(len(texts))[:30], [1.0, -1.0] * 15, strict=False)
    ]
    everything = range(len(texts))

    def embed() -> None:
        embedder.vectors([texts[next(queries)]])

    def nearest() -> None:
        index.nearest(vectors[next(queries)], 5)

    def levels() -> None:
        retrieve(vectors, everything, past, SearchSettings(), random.Random(next(queries)))

    print(f"{'medians':44}{'processor':>12}{'clock':>10}")
    told("embed one suggestion", embed)
    told("5 nearest of all", nearest)
    told("10 at levels, 30 past suggestions", levels)


def told(name: str, work: Callable[[], None]) -> None:
    """One line of the table; the first call, which builds what is built once, is left out."""
    work()
    busy, clock = [], []
    for _ in range(REPEATS):
        began, processor = time.perf_counter(), time.process_time()
        work()
        busy.append(1000 * (time.process_time() - processor))
        clock.append(1000 * (time.perf_counter() - began))
    print(f"{name:44}{statistics.median(busy):>9.2f} ms{statistics.median(clock):>7.2f} ms")


def importing(path: Path) -> None:
    """The whole import into a library, as `nader read` does it."""
    with tempfile.TemporaryDirectory(prefix="nader-retrieval-") as folder:
        began, processor = time.perf_counter(), time.process_time()
        report = asyncio.run(read(Workspace(Path(folder)), str(path), "list", load_settings(), 1))
        seconds, busy = time.perf_counter() - began, time.process_time() - processor
    total = len(json.loads(path.read_text(encoding="utf-8")))
    print(f"\nimport of {total:,}: {seconds:.1f} s, {busy:.1f} s of them processor time")
    print(f"{report.entered:,} entered, {report.merged:,} merged, {report.irrelevant:,} not about blocks")


if __name__ == "__main__":
    main()
