"""A setting that is written out in a command counts there, or the command says where it would."""

from pathlib import Path

import pytest

from tests.cli.conftest import Nader


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("run", "--set", "llm.temperature=0.1"), "llm.temperature would change nothing: the rule-based"),
        (("run", "--set", "reading.inspirations=3"), "set it in `nader read`"),
        (("read", "x.json", "--set", "search.width=3"), "search.width would change nothing: a reading"),
        (("reflect", "run-1", "--set", "training.epochs=3"), "set it in `nader run`, or leave it out"),
        (("reflect", "run-1", "--set", "llm.models.proposer=x"), "no proposer asks a chat model here; name "),
    ],
)  # fmt: skip
def test_every_command_refuses_a_setting_that_it_does_not_look_at(
    nader: Nader, workspace: Path, command: tuple[str, ...], sentence: str
) -> None:
    told = nader(*command, "-w", workspace)
    assert told.status == 2 and sentence in told.err and len(told.err.strip().splitlines()) == 1
