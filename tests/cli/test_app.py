"""Help pages worth reading; every mistake is one sentence and an exit status."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nader as package
from nader.cli.app import _COMMANDS
from nader.errors import WorkspaceError
from nader.settings import load_settings
from tests.cli.conftest import Nader
from tests.conftest import REPOSITORY


def sentence(err: str) -> str:
    """The one line that an error prints."""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in err
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_has_a_help_page(nader: Nader, command: str) -> None:
    said = nader(command, "--help")
    assert said.status == 0
    assert f"nader {command}" in said.out and len(said.out) > 300


def test_the_front_page_lists_every_command_by_what_it_is_for(nader: Nader) -> None:
    said = nader("--help")
    assert said.status == 0
    for word in (*_COMMANDS, "Campaigns", "Looking", "The log", "Blocks", "Setting up"):
        assert re.search(rf"\b{word}\b", said.out)


def test_without_a_command_the_front_page_is_shown(nader: Nader) -> None:
    said = nader()
    assert "Campaigns" in said.out
    assert said.err == ""


def test_without_a_command_of_data_its_page_is_shown(nader: Nader) -> None:
    said = nader("data")
    assert "status" in said.out
    assert said.err == ""


def test_the_version_is_told(nader: Nader) -> None:
    assert nader("--version").out == f"nader {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trea"], "no such command 'trea'"),
        (["tree", "--jsn"], "no such option: --jsn"),
        (["fork", "run-1"], "missing option '--at'"),
        (["run", "--preset", "digts"], "there is no preset 'digts'; did you mean 'digits'?"),
        (["run", "nowhere.toml"], "there is no settings file nowhere.toml"),
        (["run", "--set", "search.widht=3"], "did you mean 'search.width'"),
        (["run", "--set", "search.width"], "--set takes key=value"),
        (["run", "--set", "search.width=many"], "search.width = 'many' is not right"),
        (["run", "--set", "search.base=nowhere.txt"], "nowhere.txt"),
        (["run", "--set", "training.dataset=digitz"], "did you mean 'digits'"),
        (["tree", "-w", "nowhere"], "there is no campaign in nowhere"),
        (["check", "nowhere.txt"], "there is no file nowhere.txt"),
        (["draw", "nowhere.txt"], "there is no file nowhere.txt"),
        (["import-log", "nowhere.zst"], "there is no file nowhere.zst"),
        (["settings", "zzz"], "no setting mentions 'zzz'"),
        (["check", ".", "--skeleton", "digitz"], "no skeleton is called 'digitz'"),
        (["data", "get", "cifr10"], "cifr10"),
    ],
)
def test_a_mistake_is_one_sentence(
    nader: Nader, words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = nader(*words)
    assert result.status == 2
    assert said.lower() in sentence(result.err).lower()
    assert list(tmp_path.rglob("nader.db")) == [], "nothing is written"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tree", "rnu-1"], "no run 'rnu-1'; did you mean 'run-1'"),
        (["show", "r1-9"], "no candidate 'r1-9'; did you mean r1-"),
        (["tree", "--at", "0"], "positions 1 to"),
        (["tree", "--at", "r1-1:trainde"], "did you mean 'trained'"),
        (["tree", "--at", "nonsense"], "is no position"),
        (["tree", "--at", "1999-01-01"], "had not begun by then"),
        (["log", "--type", "ProposalMad"], "did you mean ProposalMade"),
        (["log", "--actor", "proposr"], "did you mean 'proposer'"),
        (["tree", "-O", "validation - size"], "'size' is no figure"),
        (["fork", "run-1", "--at", "10", "--name", "other"], "a run named 'other' already"),
        (
            ["fork", "run-1", "--at", "10", "--set", "training.dataset=fashion-mnist"],
            "training.dataset is fixed",
        ),
        (["retrain", "best", "--seeds", "a,b"], "--seeds takes whole numbers"),
        (["retrain", "best", "--recipe", "nowhere"], "nowhere"),
        (["inbox", "abc"], "no question waits in"),
        (["answer", "next"], "no question waits"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(
    nader: Nader, finished: Path, words: list[str], said: str
) -> None:
    result = nader(*words, "-w", finished)
    assert result.status == 2
    assert said in sentence(result.err)


def test_an_unforeseen_error_says_so_and_how_to_see_more(
    nader: Nader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("\x1b[31mdeep inside")

    monkeypatch.setattr("nader.cli.settings.load_settings", broken)
    result = nader("settings")
    assert result.status == 3
    assert sentence(result.err) == (
        "something went wrong that should not have (LookupError: deep inside); "
        "run again with --debug to see where"
    )
    shown = nader("settings", "--debug").err
    assert "Traceback" in shown and "deep inside" in shown and "\x1b" not in shown


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (WorkspaceError("it is not there"), 2, "it is not there"),
        (PermissionError(13, "Permission denied", "/etc/x"), 2, "/etc/x: permission denied"),
        (
            ModuleNotFoundError("no", name="ray"),
            2,
            "this needs the Python package 'ray', which is not installed",
        ),
        (ExceptionGroup("several", [WorkspaceError("inner")]), 2, "inner"),
    ],
)
def test_any_exception_becomes_a_sentence(
    nader: Nader, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, said: str
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("nader.cli.settings.load_settings", broken)
    result = nader("settings")
    assert (result.status, sentence(result.err)) == (status, said)


def test_ctrl_c_leaves_quietly(nader: Nader, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nader.cli.settings.load_settings", stopped)
    result = nader("settings")
    assert (result.status, result.err) == (130, "")


def test_diagnostics_go_to_the_file_that_is_named(nader: Nader, tmp_path: Path) -> None:
    import json

    import structlog

    file = tmp_path / "diagnostics.jsonl"
    nader("--log-file", file, "settings")
    structlog.get_logger().info("hello", text="\x1b[31mred")
    assert [json.loads(line)["text"] for line in file.read_text().splitlines()] == ["red"]
    nader("settings")


def test_a_log_file_that_cannot_be_written_is_named(nader: Nader, tmp_path: Path) -> None:
    result = nader("--log-file", tmp_path / "no" / "where", "settings")
    assert result.status == 2 and "cannot be written" in sentence(result.err)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"'{sys.executable}' -m nader.cli settings | head -1"
    done = subprocess.run(
        ["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stderr == ""


def test_a_reader_that_leaves_early_is_no_error_of_a_command_that_is_still_writing(finished: Path) -> None:
    command = f"'{sys.executable}' -m nader.cli log run-1 --epochs --full -w '{finished}' | head -1"
    words = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == ""


def test_a_terminal_without_our_characters_gets_others_in_their_place(finished: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nader.cli", "tree", "run-1", "-w", finished],
        cwd=REPOSITORY, capture_output=True, timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "60"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == b""
    assert b"r1-1" in done.stdout and b"?" in done.stdout and done.stdout.isascii()


@pytest.mark.parametrize(
    "words", [("why", "best"), ("log", "run-1", "--full"), ("verify", "run-1"), ("settings",)]
)
def test_the_c_locale_ends_no_command(finished: Path, words: tuple[str, ...]) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    where = [] if words == ("settings",) else ["-w", str(finished)]
    done = subprocess.run(
        [sys.executable, "-m", "nader.cli", *words, *where], cwd=REPOSITORY, capture_output=True, timeout=120,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONIOENCODING"}, **plain},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.isascii()


def test_nothing_that_is_read_depends_on_the_locale() -> None:
    """A recipe's text enters the log: read as another encoding it would be wrong there for ever."""
    for folder in ("nader", "actors", "events", "store", "prompts"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            for line in file.read_text(encoding="utf-8").splitlines():
                if re.search(r"\.(read|write)_text\(", line) and "/proc/" not in line and "/sys/" not in line:
                    assert "encoding=" in line, f"{file.name}: {line.strip()}"


def test_a_file_of_settings_is_utf_8_whatever_the_terminal_shows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nader.cli", "settings", "--toml"],
        cwd=REPOSITORY, capture_output=True, timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    assert "§" in done.stdout.decode("utf-8")
    (tmp_path / "mine.toml").write_bytes(done.stdout)
    assert load_settings(tmp_path / "mine.toml") == load_settings()


def test_a_command_imports_only_what_it_needs() -> None:
    code = "import sys; from nader.cli import main; main(['settings']); "
    code += "print('torch' in sys.modules, 'networkx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "False False"
