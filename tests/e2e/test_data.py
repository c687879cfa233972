"""The data a campaign begins with are those that every result is recorded for, to its end."""

import asyncio
import shutil

import numpy as np
import pytest
from PIL import Image

from nader.campaign import Campaign
from nader.errors import NaderError, SettingsError
from nader.forks import fork
from nader.settings import load_settings
from nader.workspace import Workspace
from tests.e2e.campaigns import SMALL, check_log, events, resume_campaign, run_campaign

SETS = (
    "search.candidates=2",
    "search.width=2",
    "search.lookahead=0",
    "synchronous=NORMAL",
    "training.slots=1",
    "training.max_params=20000",
    "training.dataset=image-folder-8",
    "training.epochs=2",
)


@pytest.fixture
def images(tmp_path):
    """Three classes of a dozen images."""
    for number in range(3):
        place = tmp_path / "images" / f"class{number}"
        place.mkdir(parents=True)
        for i in range(12):
            noise = np.random.default_rng([number, i]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place / f"{i}.png")
    return tmp_path / "images"


def another(images):
    """Put other contents of the same size in the place of an image."""
    file = images / "class1" / "5.png"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)


def test_images_changed_during_a_campaign_are_never_recorded_under_the_old_ones(tmp_path, images):
    """After the base's training an image is changed, too little to change any size or count."""
    shutil.copytree(images, tmp_path / "kept")
    sets = (*SETS, f"training.data_dir={images}")

    async def main():
        async with await Campaign.start(Workspace(tmp_path / "w"), load_settings(sets=sets)) as campaign:
            changed = []

            def change(envelope):
                if envelope.type == "TrainingCompleted" and not changed:
                    changed.append(another(images))

            campaign.observe(change)
            return await campaign.run()

    ending = asyncio.run(main())
    log = events(tmp_path / "w")
    trained = [e for e in log if e.type == "TrainingCompleted"]
    failed = [e.event for e in log if e.type == "TrainingFailed"]
    assert [e.correlation for e in trained] == ["base"]
    assert failed and {e.kind for e in failed} == {"data-changed"}
    assert "is not the one that was begun with" in failed[0].message
    assert ending.kind == "paused" and "put the files back as they were" in ending.reason

    for command in ((), ("search.candidates=1",)):
        with pytest.raises(NaderError, match=r"files were added, removed or changed\. Put them back"):
            resume_campaign(tmp_path / "w", sets=command)
    with pytest.raises(NaderError, match=r"files were added, removed or changed\. Put them back"):
        asyncio.run(fork(Workspace(tmp_path / "w"), None, log[-1].position, sets=("search.candidates=1",)))
    assert len(events(tmp_path / "w")) == len(log), "refused before anything is recorded"

    shutil.rmtree(images)
    with pytest.raises(NaderError, match="is not there"):
        resume_campaign(tmp_path / "w")
    (tmp_path / "kept").rename(images)
    assert resume_campaign(tmp_path / "w").reason == "completed"
    check_log(tmp_path / "w")


def test_data_that_moved_with_all_their_files_are_the_same(tmp_path, images):
    sets = (*SMALL, "training.max_params=20000", "training.dataset=image-folder-8")
    run_campaign(tmp_path / "w", (*sets, f"training.data_dir={images}"))
    images.rename(tmp_path / "elsewhere")
    moved = f"training.data_dir={tmp_path / 'elsewhere'}"
    assert resume_campaign(tmp_path / "w", sets=(moved, "search.candidates=6")).reason == "completed"
    check_log(tmp_path / "w")


@pytest.mark.parametrize("part", ["test", "nothing"])
def test_a_search_on_data_without_a_validation_part_is_refused(tmp_path, images, part):
    (tmp_path / "parts").mkdir()
    shutil.copytree(images, tmp_path / "parts" / "train")
    if part != "nothing":
        shutil.copytree(images, tmp_path / "parts" / part)
    sets = (*SMALL, "training.dataset=image-folder-8", f"training.data_dir={tmp_path / 'parts'}")
    with pytest.raises(
        SettingsError, match=r"has no validation part.*: add a validation folder beside train"
    ):
        run_campaign(tmp_path / "w", sets)
    assert not (tmp_path / "w" / "nader.db").exists()


@pytest.mark.parametrize("name", ["cifar10-full", "fashion-mnist-full", "stl10-full"])
def test_a_search_on_the_joined_parts_is_refused_with_the_way_out(tmp_path, name):
    with pytest.raises(SettingsError) as caught:
        run_campaign(tmp_path / "w", (*SMALL, f"training.dataset={name}"))
    said = str(caught.value)
    assert f"search on {name.removesuffix('-full')!r}; `nader retrain` takes {name!r} for final" in said
