"""Code of a model runs in a process that can do no harm, and its verdict is typed."""

import sys

import pytest

from nader.baseline import BaselineError, CodeLimits, try_code

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the isolation is Linux's")

GOOD = """
import torch
from torch import nn
class Cell(nn.Module):
    stride = 1
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=self.stride, padding=1)
    def forward(self, x):
        return self.conv(x)
class Stem(Cell):
    pass
class Downsample(Cell):
    stride = 2
"""


def tried(code: str, **limits: float):
    """The verdict; a system that isolates nothing skips."""
    try:
        return try_code(code, CodeLimits(**limits))
    except BaselineError as error:
        pytest.skip(str(error))


def test_a_module_with_three_right_classes_is_executable_and_ran_isolated():
    verdict = tried(GOOD)
    assert (verdict.kind, verdict.executable, verdict.message) == ("ok", True, "")
    assert "limits" in verdict.isolation and {"no-network", "filter"} & set(verdict.isolation)


WRONG = {
    "a downsample block of stride 1": (GOOD.replace("stride = 2", "stride = 1"), "shape", "Downsample gives"),
    "a class that is not there": (GOOD.replace("class Stem", "class Steam"), "interface", "no class Stem"),
    "no Python": ("Here is the block:", "error", "SyntaxError"),
    "numbers that are none": (GOOD.replace("self.conv(x)", "self.conv(x) / 0"), "number", "not finite"),
    "a silent end": ("import os; os._exit(3)", "crash", "status 3"),
    "a forged verdict": (
        "import json, os\n"
        "said = json.dumps({'kind': 'ok', 'message': '', 'isolation': ['limits'], 'word': ''})\n"
        "for number in range(3, 30):\n"
        "    try:\n"
        "        os.write(number, said.encode() + b'\\n')\n"
        "    except OSError:\n"
        "        pass\n"
        "os._exit(0)",
        "crash",
        "status 0",
    ),
}
HARM = {
    "a connection": ("import socket; socket.create_connection(('127.0.0.1', 80))", "Error"),
    "a new process": ("import os; os.fork()", "PermissionError"),
    "another program": ("import subprocess; subprocess.run(['true'])", "PermissionError"),
    "a signal": ("import os; os.kill(os.getppid(), 9)", "PermissionError"),
    "removing a file": ("import os; os.unlink(__file__)", "Error"),
}
FIRST_WRONG, *OTHER_WRONG = sorted(WRONG, key=lambda name: name != "a forged verdict")
FIRST_HARM, *OTHER_HARM = HARM


@pytest.mark.parametrize(
    "name", [FIRST_WRONG, *(pytest.param(n, marks=pytest.mark.slow) for n in OTHER_WRONG)]
)
def test_wrong_code_is_told_apart(name):
    code, kind, message = WRONG[name]
    verdict = tried(code)
    assert (verdict.kind, verdict.executable) == (kind, False)
    assert message in verdict.message


@pytest.mark.parametrize("name", [FIRST_HARM, *(pytest.param(n, marks=pytest.mark.slow) for n in OTHER_HARM)])
def test_code_that_would_do_harm_is_refused_by_the_system(name):
    code, message = HARM[name]
    verdict = tried(code)
    assert verdict.kind == "error" and message in verdict.message


def test_what_an_error_tells_of_a_file_is_cut_and_harmless():
    """What `nader.baseline` says is left to the code: a file's text in an error's, so much and no more."""
    verdict = tried("raise ValueError(open('/etc/passwd').read() * 9 + '\\x1b[2J')")
    assert verdict.kind == "error" and len(verdict.message) <= 300 and verdict.message.isprintable()


@pytest.mark.slow
def test_a_file_is_not_written(tmp_path):
    target = tmp_path / "written"
    tried(f"open({str(target)!r}, 'w').write('text' * 100)")
    assert not target.exists() or target.read_bytes() == b""


@pytest.mark.slow
def test_the_key_in_the_environment_is_not_there_for_the_code(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-secret")
    code = "import os; raise ValueError(sorted(os.environ), open(f'/proc/{os.getppid()}/environ').read())"
    assert "secret" not in tried(code).message and "OPENAI" not in tried(code).message


@pytest.mark.slow
def test_time_and_memory_are_limited():
    assert tried("while True: pass", processor_s=8).kind == "time-out"
    assert tried("import time; time.sleep(600)", seconds=8.0).kind == "time-out"
    assert tried("import torch; x = torch.zeros(10**11)").kind == "memory"
