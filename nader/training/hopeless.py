"""The rule that stops hopeless candidates early, and the numbers it goes by.

Paper A3.2: 19.2 % of 500 designs did not converge, and showed it in the loss of the first few epochs. The
rule compares what a candidate has *learned*, ln K - training loss for K classes (what it knows beyond
guessing), with what the base block had learned by the same epoch under the same recipe:

1. It waits until epoch `after`, and until the base itself has learned `base_learned` · ln K, so that there
   is something to fall behind.
2. From then on an epoch counts against the candidate when its best loss so far has gained less than `share`
   of the base's best gain by that epoch, *and* its best accuracy on the training images is less than
   `accuracy` above chance.
3. `patience` such epochs in a row stop it.

A loss that is NaN or infinite is not this rule's business: it ends the training as `nan` at once. A slow
starter is safe as long as it learns at a twentieth of the base's pace; an accuracy at chance alone never
stops a training whose loss falls. `benchmarks/hopeless.py` measures false stops and epochs saved:
of 50 children that real models designed, trained on 400 small images for 8 epochs, 3 ended near chance. One
of them was stopped, none of the 47 others was (`python benchmarks/hopeless.py --images 400 --epochs 8`).
"""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field

from nader.training.errors import TrainingError
from nader.training.job import Curve, Evidence


class HopelessRule(BaseModel):
    """The rule's constants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: int = Field(default=3, ge=1)
    patience: int = Field(default=2, ge=1)
    share: float = Field(default=0.05, gt=0, lt=1)
    accuracy: float = Field(default=0.05, gt=0, lt=1)
    base_learned: float = Field(default=0.1, gt=0, lt=1)


class HopelessError(TrainingError):
    """The candidate is stopped; `evidence` holds the numbers."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence.sentence)
        self.evidence = evidence


def judge(curve: Curve, baseline: Curve, classes: int, rule: HopelessRule) -> Evidence | None:
    """The evidence to stop now, or None to go on. Looks at the curve's last `patience` epochs."""
    epochs = range(len(curve) - rule.patience + 1, len(curve) + 1)
    verdicts = [_behind(curve, baseline, epoch, classes, rule) for epoch in epochs]
    return verdicts[-1] if verdicts and all(verdicts) else None


def _behind(curve: Curve, baseline: Curve, epoch: int, classes: int, rule: HopelessRule) -> Evidence | None:
    """Evidence where `epoch` (from 1) counts against the candidate."""
    if epoch < rule.after or epoch > min(len(curve), len(baseline)):
        return None
    guess, chance = math.log(classes), 1 / classes
    gained, base_gained = (guess - min(p.train_loss for p in c[:epoch]) for c in (curve, baseline))
    best = max(p.train_accuracy for p in curve[:epoch])
    if base_gained < rule.base_learned * guess:
        return None
    if gained >= rule.share * base_gained or best >= chance + rule.accuracy:
        return None
    return Evidence(
        rule="hopeless",
        epoch=epoch,
        observed=gained,
        expected=base_gained,
        threshold=rule.share * base_gained,
        sentence=(
            f"Stopped after epoch {epoch}: the training loss has come down {gained:.3f} from ln {classes} = "
            f"{guess:.3f}, less than {rule.share:.0%} of the base block's {base_gained:.3f} by then, and "
            f"training accuracy is {best:.1%} (chance: {chance:.1%})."
        ),
    )
