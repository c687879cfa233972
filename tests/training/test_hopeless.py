"""The rule for hopeless candidates: what it stops, what it leaves alone, and the numbers it gives."""

import math

import pytest

from nader.training.hopeless import HopelessRule, judge
from nader.training.job import Curve, EpochPoint

RULE = HopelessRule()
GUESS = math.log(10)


def curve(losses: list[float], accuracies: list[float] | None = None) -> Curve:
    """A curve with these training losses; accuracy rises with what is learned unless given."""
    accuracies = accuracies or [0.1 + 0.9 * max(0.0, 1 - loss / GUESS) for loss in losses]
    return tuple(
        EpochPoint(epoch=i + 1, lr=0.1, train_loss=loss, train_accuracy=accuracy)
        for i, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True))
    )


BASE = curve([2.0, 1.6, 1.2, 0.9, 0.7, 0.5])
STUCK = curve([2.31, 2.305, 2.303, 2.303, 2.302, 2.303])


def stopped_at(
    candidate: Curve, base: Curve = BASE, classes: int = 10, rule: HopelessRule = RULE
) -> int | None:
    """The first epoch after which the rule stops the candidate."""
    return next((n for n in range(1, len(candidate) + 1) if judge(candidate[:n], base, classes, rule)), None)


@pytest.mark.parametrize(
    ("name", "candidate", "epoch"),
    [
        ("never leaves chance", STUCK, 4),
        ("diverges, stays finite", curve([2.5, 4.0, 9.0, 20.0, 50.0, 60.0], [0.1] * 6), 4),
        ("the base itself", BASE, None),
        ("learns at a fifth of the base's pace", curve([2.29, 2.2, 2.1, 2.05, 2.0, 1.95]), None),
        ("starts late but has started", curve([2.303, 2.303, 2.2, 2.0, 1.5, 1.0]), None),
        ("loss at chance, accuracy well above", curve([2.3] * 6, [0.1, 0.2, 0.3, 0.3, 0.3, 0.3]), None),
        ("accuracy at chance, loss falling", curve([2.2, 2.1, 2.0, 1.9, 1.8, 1.7], [0.1] * 6), None),
        ("too short to judge", STUCK[:3], None),
    ],
)
def test_the_rule_stops_what_learns_nothing_and_nothing_else(
    name: str, candidate: Curve, epoch: int | None
) -> None:
    assert stopped_at(candidate) == epoch, name


def test_nothing_is_stopped_while_the_base_has_not_learned_either() -> None:
    assert stopped_at(STUCK, base=curve([2.303, 2.3, 2.3, 2.29, 2.28, 2.27])) is None


def test_nothing_is_judged_beyond_the_bases_curve() -> None:
    assert stopped_at(STUCK, base=BASE[:3]) is None


def test_the_base_is_compared_by_its_losses_alone() -> None:
    losses_only = tuple(point.model_copy(update={"train_accuracy": 0.0}) for point in BASE)
    assert stopped_at(STUCK, base=losses_only) == 4 and stopped_at(BASE, base=losses_only) is None


def test_the_evidence_holds_the_numbers_it_went_by() -> None:
    evidence = judge(STUCK[:4], BASE, 10, RULE)
    assert evidence is not None
    assert (evidence.rule, evidence.epoch) == ("hopeless", 4)
    assert math.isclose(evidence.observed, GUESS - 2.303)
    assert math.isclose(evidence.expected, GUESS - 0.9)
    assert evidence.observed < evidence.threshold == 0.05 * evidence.expected
    assert evidence.sentence.startswith("Stopped after epoch 4: the training loss has come down")
