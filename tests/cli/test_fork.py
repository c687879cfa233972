"""What `nader fork` says of changed settings: which work is done under them, and which ends as it began."""

from pathlib import Path

from tests.cli.conftest import Nader
from tests.e2e.campaigns import events


def test_it_says_what_is_done_under_the_changed_settings(nader: Nader, workspace: Path) -> None:
    words = ["fork", "run-1", "--at", "r2-1:proposed", "--seed", "7"]
    told = nader(*words, "-w", workspace)
    lines = told.out.splitlines()
    assert lines[1].startswith("under the changed settings: ") and lines[1].endswith(", all that comes later")
    assert "the design of r2-1, " in lines[1]
    as_json = nader(*words, "--json", "-w", workspace).json
    assert "the design of r2-1" in as_json["changed_for"]
    assert "the proposals of round-2" in as_json["unchanged_for"], "it waits for the designs of its proposals"


def test_it_says_what_ends_as_it_began(nader: Nader, workspace: Path) -> None:
    asked = next(
        e for e in events(workspace, "run-1") if e.type == "ChatRequested" and e.correlation == "r2-1"
    )
    words = ["fork", "run-1", "--at", str(asked.position), "--seed", "7"]
    told = next(line for line in nader(*words, "-w", workspace).out.splitlines() if line.startswith("as it"))
    assert told.startswith("as it had begun: ") and "the design of r2-1" in told
    assert ", without the answers that are cancelled: " in nader(*words, "--cancel", "-w", workspace).out
    assert "the design of r2-1" in nader(*words, "--json", "-w", workspace).json["unchanged_for"]


def test_it_says_so_where_nothing_is_changed(nader: Nader, workspace: Path) -> None:
    plain = nader("fork", "run-1", "--at", "r2-1:proposed", "-w", workspace).out
    assert "settings" not in plain
    same = nader("fork", "run-1", "--at", "r2-1:proposed", "--seed", "2", "-w", workspace).out
    assert "nothing was changed: the settings are so already" in same
