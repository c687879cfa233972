"""What a written network, its machine or its files may do to a training, through a whole campaign with real
workers: each costs the one candidate, is explained in the log, and the next candidate trains.
"""

import asyncio
import json
import os
import resource
import signal
import sys
from dataclasses import dataclass

import pytest

from nader.assembly import slots_of, watched
from nader.campaign import Campaign
from nader.cli import main
from nader.cli.show import spent_text
from nader.graph import base_design
from nader.settings import load_settings
from nader.training import LocalBackend
from nader.workspace import Workspace
from tests.e2e.campaigns import check_log, events, folded
from tests.training.test_datasets import write_image_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits are set as on Linux")


@dataclass(frozen=True)
class Fault:
    """How the log names a fault, and words of its explanation."""

    kind: str
    words: str


FAULTS = {
    "a block that allocates 100 GB": Fault("host-oom", "memory"),
    "an endless loop": Fault("hang", "no sign of life"),
    "SIGKILL": Fault("host-oom", "killed from outside"),
    "SIGSEGV": Fault("segfault", "crashed with SIGSEGV"),
    "NaN on purpose": Fault("nan", "became NaN or infinite"),
    "the disk is full": Fault("disk-full", "could not be written"),
    "the data are gone": Fault("data-missing", "is not there"),
    "it learns nothing": Fault("hopeless", "Stopped after epoch"),
}
SIGNALS = {"an endless loop": signal.SIGSTOP, "SIGKILL": signal.SIGKILL, "SIGSEGV": signal.SIGSEGV}


def design_of(*operations):
    """A design whose cell does these things one after the other."""
    text = base_design("resnet-basic").to_text()
    nodes = [f"{number}:{operation}" for number, operation in enumerate(("input", "output", *operations))]
    path = "->".join(map(str, (0, *range(2, len(nodes)), 1)))
    return "\n".join(["##Odd##", *nodes, path, text[text.index("##ResNetBasic_stem") :]])


HUGE = design_of("repeat(1,1,250,250)", "ReLU", "AdaptiveAvgPool2d(output_size=(H,W))")
"""Blows each map up to 2,000 by 2,000: 64 MB an image at width 4, before what follows it."""
BLIND = design_of("AdaptiveAvgPool2d(output_size=(1,1))", "softmax(dim=2)", "repeat(1,1,H,W)")
"""Gives ones, whatever comes in."""


class Unlucky(LocalBackend):
    """The settings' own back end, in whose workers the faults happen: to every other training after the
    base's, in turn.
    """

    def __init__(self, settings, data):
        super().__init__(slots_of(settings.training), **watched(settings.training))
        self._data, self._left, self._calls = data, list(FAULTS), 0
        self.met = {}
        """Fault by the folder of the training that met it."""

    async def train(self, job, folder, on_progress, *, baseline=None):
        self._calls += 1
        name = self._left.pop(0) if self._calls % 2 == 0 and self._left else None
        if name is None:
            return await super().train(job, folder, on_progress, baseline=baseline)
        self.met[folder.name] = name
        if name == "a block that allocates 100 GB":
            batch = job.recipe.model_copy(update={"batch": 1600})
            job = job.model_copy(update={"design": HUGE, "width": 4, "recipe": batch})
        if name == "NaN on purpose":
            job = job.model_copy(update={"recipe": job.recipe.model_copy(update={"lr": 1e30})})
        if name == "it learns nothing":
            still = job.recipe.model_copy(update={"lr": 1e-9})
            job = job.model_copy(update={"design": BLIND, "width": 4, "recipe": still})
        away = self._data.with_name("away")
        if name == "the data are gone":
            self._data.rename(away)

        def strike(progress):
            (worker,) = self.worker_pids()
            if name == "the disk is full" and progress.stage == "starting":
                resource.prlimit(worker, resource.RLIMIT_FSIZE, (1000, 1000))
            if name in SIGNALS and progress.point is not None and progress.point.epoch == 1:
                os.kill(worker, SIGNALS[name])
            on_progress(progress)

        try:
            return await super().train(job, folder, strike, baseline=baseline)
        finally:
            if away.exists():
                away.rename(self._data)


@pytest.fixture(scope="module")
def unlucky(tmp_path_factory):
    """A campaign that meets every fault, on one slot; returns its folder and faults by job."""
    folder = tmp_path_factory.mktemp("unlucky")
    data, recipe = folder / "images", folder / "recipe.toml"
    write_image_folder(data, each=40)
    recipe.write_text('deviates_from = "digits"\nepochs = 6\nbatch = 16\ncheckpoint_every = 1\n')
    settings = load_settings(
        sets=(
            f"search.candidates={2 * len(FAULTS)}", "search.width=8", "search.lookahead=0",
            "search.base=resnet-basic", "synchronous=NORMAL", "training.dataset=image-folder-8",
            f"training.data_dir={data}", f"training.recipe={recipe}", "training.slots=1",
            "training.device=cpu", "training.max_params=20000", "training.memory_gb=2",
            "training.heartbeat_s=6", "training.hopeless=true",
        )
    )  # fmt: skip

    async def main():
        async with await Campaign.start(Workspace(folder), settings) as campaign:
            backend = Unlucky(settings, data)
            ending = await campaign.run(backend)
            return ending, backend.met

    ending, met = asyncio.run(main())
    assert ending.reason == "completed"
    assert list(met.values()) == list(FAULTS)
    return folder, met


def ends_of(folder):
    """How each training ended, in the order of the ends: (job, event)."""
    kinds = ("TrainingCompleted", "TrainingFailed", "ResultReused")
    return [(e.event.job, e.event) for e in events(folder) if e.type in kinds]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_its_candidate_is_explained_and_the_next_candidate_trains(unlucky, name):
    folder, met = unlucky
    ends = ends_of(folder)
    place = next(n for n, (job, _) in enumerate(ends) if met.get(job) == name)
    job, failed = ends[place]
    assert type(failed).__name__ == "TrainingFailed"
    assert failed.kind == FAULTS[name].kind and FAULTS[name].words in failed.message, failed
    assert type(ends[place + 1][1]).__name__ == "TrainingCompleted"
    log = events(folder)
    candidate = next(e.event.candidate for e in log if e.type == "TrainingRequested" and e.event.job == job)
    told = next(e.event for e in log if e.type == "CandidateFailed" and e.event.candidate == candidate)
    assert (told.kind, told.message) == (failed.kind, failed.message)
    views, _ = folded(folder)
    assert views.tree.candidate(candidate).failed
    assert not (folder / "trainings" / job / "result.json").exists()


def test_the_campaign_with_every_fault_is_whole_and_all_others_are_trained(unlucky):
    folder, met = unlucky
    check_log(folder)
    views, _ = folded(folder)
    made = [c for c in views.tree.candidates() if c.parent is not None and c.original is None]
    assert len([c for c in made if c.failed]) == len(FAULTS) == len(met)
    assert len([c for c in made if c.trained]) == len(FAULTS)
    assert not [e for e in events(folder) if e.type == "HandlerFailed"]
    assert {e.event.slot for e in events(folder) if e.type == "TrainingStarted"} == {"slot 0 (cpu)"}


def test_what_stopping_the_hopeless_one_saved_is_told(unlucky, capsys):
    folder, met = unlucky
    hopeless = next(e for job, e in ends_of(folder) if met.get(job) == "it learns nothing")
    evidence = json.loads(hopeless.detail)
    assert hopeless.epochs == evidence["epoch"] < 6, "the base's own curve came as far as the worker"
    assert evidence["observed"] < evidence["threshold"] < evidence["expected"]
    views, _ = folded(folder)
    spent = views.ledger.totals()
    assert (spent.stopped_early, spent.epochs_saved) == (1, 6 - hopeless.epochs)
    said = f"stopped early: 1, epochs saved: {6 - hopeless.epochs}"
    assert said in spent_text(spent)
    assert main(["cost", "-w", str(folder)]) == 0
    assert said in capsys.readouterr().out
