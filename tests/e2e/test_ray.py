"""A campaign on two Ray workers is the campaign on two local slots, event for event but for timings."""

import asyncio
import importlib.util
import json

import pytest

from nader.campaign import Campaign
from nader.errors import SettingsError
from nader.settings import load_settings
from nader.workspace import Workspace
from tests.e2e.campaigns import check_log, events, tree

SETS = (
    "search.candidates=3", "search.width=3", "training.epochs=2", "training.slots=2", "synchronous=NORMAL",
    "training.max_params=20000",
)  # fmt: skip
TIMINGS = ("seconds", "latency", "latency_ms", "peak_memory")


def run(folder, *more):
    async def main():
        async with await Campaign.start(Workspace(folder), load_settings(sets=(*SETS, *more))) as campaign:
            return await campaign.run()

    return asyncio.run(main())


def story(folder):
    """Every event but its place, times and measurements of the machine, in an order of their own."""
    told = []
    for envelope in events(folder):
        data = {k: v for k, v in envelope.data().items() if k not in TIMINGS}
        if envelope.type == "CampaignStarted":
            data["settings"]["training"]["backend"] = ""
        told.append(
            (envelope.type, envelope.actor, envelope.correlation or "", json.dumps(data, sort_keys=True))
        )
    return sorted(told)


@pytest.mark.timeout(300)
def test_two_ray_workers_tell_the_same_story_as_two_local_slots(tmp_path):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    run(tmp_path / "local")
    run(tmp_path / "ray", "training.backend=ray")
    check_log(tmp_path / "ray")
    assert tree(tmp_path / "local") == tree(tmp_path / "ray")
    assert story(tmp_path / "local") == story(tmp_path / "ray")


@pytest.mark.parametrize("extra", ["ray", "tensorboard"])
def test_an_extra_that_is_not_installed_is_said_before_anything_is_recorded(tmp_path, monkeypatch, extra):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == extra else find(name))
    change = {"ray": "training.backend=ray", "tensorboard": "training.tensorboard=true"}[extra]
    with pytest.raises(SettingsError, match=rf"pip install 'nader\[{extra}\]'"):
        run(tmp_path, change)
    assert not (tmp_path / "nader.db").exists()
