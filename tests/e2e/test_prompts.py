"""Prompts of one's own: they travel in the log, so that a campaign is verified where their folder is not."""

import asyncio
import shutil
from pathlib import Path

import pytest

import prompts
from nader.errors import SettingsError
from nader.forks import fork
from nader.workspace import Workspace
from tests.e2e.campaigns import SMALL, check_log, events, resume_campaign, run_campaign, verified

BUILT_IN = Path(prompts.__file__).parent / "modify_cell.md"


@pytest.fixture
def folder(tmp_path):
    own = tmp_path / "prompts"
    own.mkdir()
    text = BUILT_IN.read_text().replace(
        "# System\n", "# System\n\nPrefer the simplest change that follows the suggestion.\n"
    )
    (own / "modify_cell.md").write_text(text)
    return own


def asked_with(folder, run=None):
    """What the modifier was told, by whether it was our own sentence."""
    with Workspace(folder).reader() as reader:
        return [
            b"Prefer the simplest change" in reader.blob(e.event.messages[0].digest)
            for e in events(folder, run)
            if e.type == "ChatRequested" and e.event.prompt == "modify_cell"
        ]


def test_a_campaign_asks_with_its_own_prompts_and_verifies_without_their_folder(tmp_path, folder):
    run_campaign(tmp_path / "w", (*SMALL, f"llm.prompts={folder}"))
    shutil.rmtree(folder)
    assert asked_with(tmp_path / "w") and all(asked_with(tmp_path / "w"))
    check_log(tmp_path / "w")


def test_a_fork_may_change_the_prompts_from_there_on(tmp_path, folder):
    # Without a lookahead, the second round is designed after the first is closed.
    run_campaign(tmp_path / "w", (*SMALL, "search.lookahead=0"))
    at = next(e.position for e in events(tmp_path / "w") if e.type == "RoundClosed")
    name = asyncio.run(fork(Workspace(tmp_path / "w"), "run-1", at, sets=(f"llm.prompts={folder}",)))
    resume_campaign(tmp_path / "w", name)
    told = asked_with(tmp_path / "w", name)
    assert not told[0] and told[-1]
    check_log(tmp_path / "w", name)
    assert verified(tmp_path / "w", "run-1").ok


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("modify_cell.md", "no front matter", "prompt modify_cell: the file must begin with front matter"),
        ("modify_sell.md", "---\nname: x\n---\n", "there is no prompt 'modify_sell'"),
        ("modify_cell.md", None, "its variables must be"),
    ],
)
def test_a_template_that_does_not_fit_is_one_sentence(tmp_path, folder, name, text, sentence):
    (folder / name).write_text(
        text or BUILT_IN.read_text().replace("{{experience}}", "").replace(", experience", "")
    )
    with pytest.raises(SettingsError) as caught:
        run_campaign(tmp_path / "w", (*SMALL, f"llm.prompts={folder}"))
    assert sentence in str(caught.value)
    assert not (tmp_path / "w" / "nader.db").exists()


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(SettingsError, match="is no folder"):
        run_campaign(tmp_path, (*SMALL, f"llm.prompts={tmp_path / 'none'}"))
