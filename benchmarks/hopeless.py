"""Measure the rule for hopeless candidates on real modifications: false stops, and the epochs it saves.

    python benchmarks/hopeless.py [--pairs modification_pairs.json] [--epochs 12] [--images 1000]

Each child is trained to its end on small Fashion-MNIST (stems of stride 4 at 32×32, others at 8×8), and the
rule is asked after each epoch, with the curve of the child's own parent as the base's. A *false stop* is a
child that the rule would have stopped and that ended above twice the chance level.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.nn.functional import avg_pool2d

from nader.graph import Design, parse
from nader.network import Limits, NetworkError, Skeleton, get_skeleton, search_width
from nader.training import (
    Curve,
    Dataset,
    HopelessRule,
    NotFiniteError,
    Recipe,
    TrainingJob,
    get_recipe,
    load_dataset,
)
from nader.training.datasets import Part, balanced_subset
from nader.training.hopeless import judge
from nader.training.loop import Training

LIMITS = Limits(params=400_000, macs=4_000_000)
DEFAULT_PAIRS = Path(__file__).parents[2] / "shared/data/nader-official/modification_pairs.json"


def small_data(images: int) -> dict[int, Dataset]:
    """Fashion-MNIST cut down, by stem stride: 32×32 for stride 4, averaged to 8×8 for stride 1."""
    full = load_dataset("fashion-mnist")
    assert full.validation is not None

    def cut(part: Part, count: int) -> Part:
        return balanced_subset(part, count, 10)

    large = Dataset(full.info, cut(full.train, images), cut(full.validation, 500), None)

    def shrink(part: Part | None) -> Part:
        assert part is not None
        return Part(avg_pool2d(part.images.float(), 4).round().to(torch.uint8), part.labels)

    info = replace(full.info, height=8, width=8)
    return {4: large, 1: Dataset(info, shrink(large.train), shrink(large.validation), None)}


def place(texts: list[str]) -> tuple[Design, Skeleton, int]:
    """The design, a skeleton of one cell a stage that its stem fits, and a width."""
    design = Design(*(parse(text) for text in texts))
    small = get_skeleton("digits")
    tries = (small, small.model_copy(update={"stem_stride": 4}).for_image(1, 32, 32))
    for skeleton in tries:
        try:
            return design, skeleton, search_width(design, skeleton, 10, LIMITS).width
        except NetworkError as error:
            last = error
    raise last


def train(texts: list[str], data: dict[int, Dataset], recipe: Recipe) -> tuple[Curve, float]:
    """The whole curve and the last validation accuracy; a loss that is not finite ends it at chance."""
    design, skeleton, width = place(texts)
    job = TrainingJob(
        design=design.to_text(),
        skeleton="digits",
        width=width,
        classes=10,
        dataset="fashion-mnist",
        recipe=recipe,
    )
    curve: list[Curve] = [()]
    with tempfile.TemporaryDirectory() as folder:
        training = Training(
            job, data[skeleton.stem_stride], Path(folder), torch.device("cpu"), skeleton=skeleton
        )
        try:
            result = training.run(decide=lambda so_far: curve.append(so_far))
        except NotFiniteError:
            return curve[-1], 0.1
    return result.curve, result.validation or 0.0


def main() -> None:
    """Train every parent and child, ask the rule, print the table and the sums."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, default=DEFAULT_PAIRS)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--only", type=int, default=None, help="so many pairs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, rule = small_data(arguments.images), HopelessRule()
    changes = {
        "epochs": arguments.epochs,
        "train_images": None,
        "evaluate_every": 100,
        "checkpoint_every": 1000,
    }
    recipe = get_recipe("digits").model_copy(update={**changes, "lr": 0.1})
    parents: dict[str, Curve] = {}
    rows = []
    for pair in json.loads(arguments.pairs.read_text())[: arguments.only]:
        parent, child = pair["parent"], pair["child"]
        key = "\n".join(parent["blocks"])
        try:
            parents[key] = parents.get(key) or train(parent["blocks"], data, recipe)[0]
            curve, accuracy = train(child["blocks"], data, recipe)
        except NetworkError as error:
            print(f"{child['name']}: left out, {str(error).splitlines()[0]}")
            continue
        ends = (n for n in range(1, len(curve) + 1) if judge(curve[:n], parents[key], 10, rule))
        stopped = next(ends, None)
        rows.append((accuracy, stopped, len(curve)))
        print(
            f"{child['name']:45} paper {child['acc']:5.1f}  here {accuracy:6.1%}  stopped {stopped}",
            flush=True,
        )
    report(rows, arguments.epochs)


def report(rows: list[tuple[float, int | None, int]], epochs: int) -> None:
    """The sums over all children."""
    hopeless = [row for row in rows if row[0] < 0.2]
    stopped = [row for row in rows if row[1] is not None]
    false = [row for row in stopped if row[0] >= 0.2]
    saved = sum(epochs - row[1] for row in stopped if row[1] is not None)
    spent = epochs * len(hopeless)
    print(
        f"\n{len(rows)} children, {len(hopeless)} of them ended below twice the chance level (20 %).\n"
        f"Stopped: {len(stopped)}; false stops: {len(false)}; hopeless epochs saved: {saved} of {spent}"
        f" ({saved / spent if spent else 0:.0%}), {saved / (epochs * len(rows)):.1%} of all epochs."
    )


if __name__ == "__main__":
    main()
