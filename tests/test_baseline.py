"""Code of a model runs in a process that can do no harm, and its verdict is typed."""

import importlib.util
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nader import baseline
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
    assert {"limits", "filter"} <= set(verdict.isolation)


HONEST = """
import torch
from torch import nn
from torch.nn import functional as F
class Cell(nn.Module):
    stride = 1
    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=self.stride, padding=1)
        self.norm, self.tokens = nn.BatchNorm2d(channels_out), nn.LayerNorm(channels_out)
        self.attention = nn.MultiheadAttention(channels_out, 4, batch_first=True)
    def forward(self, x):
        x = self.norm(self.conv(x))
        n, c, h, w = x.shape
        t = self.tokens(x.flatten(2).transpose(1, 2))
        x = x + self.attention(t, t, t)[0].transpose(1, 2).reshape(n, c, h, w)
        x = x + F.interpolate(F.adaptive_avg_pool2d(x, 2), size=(h, w), mode="bilinear")
        return F.dropout(torch.einsum("nchw,nchw->nchw", x, torch.fft.fft2(x).real.sigmoid()), 0.1)
class Stem(Cell):
    pass
class Downsample(Cell):
    stride = 2
"""
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
# Calls by their numbers on x86-64 and aarch64 (None where there is no such call), with arguments that would
# do the harm: V is another process, P a file of ours, F its descriptor, N a path beside it, S a structure.
CALLS = {
    # to other processes
    "kill": (62, 129, "V, 9"),
    "tkill": (200, 130, "V, 9"),
    "tgkill": (234, 131, "V, V, 9"),
    "rt_sigqueueinfo": (129, 138, "V, 9, S"),
    "rt_tgsigqueueinfo": (297, 240, "V, V, 9, S"),
    "pidfd_open": (434, 434, "V, 0"),
    "pidfd_send_signal": (424, 424, "3, 9, 0, 0"),
    "pidfd_getfd": (438, 438, "3, 0, 0"),
    "fcntl, owner": (72, 25, "F, 8, V"),
    "fcntl, signal": (72, 25, "F, 10, 9"),
    "ioctl, owner": (16, 29, "F, 0x8901, S"),
    "prlimit64": (302, 261, "V, 0, S, 0"),
    "ptrace": (101, 117, "16, V, 0, 0"),
    "process_vm_readv": (310, 270, "V, S, 1, S, 1, 0"),
    "process_vm_writev": (311, 271, "V, S, 1, S, 1, 0"),
    "process_madvise": (440, 440, "3, S, 1, 4, 0"),
    "kcmp": (312, 272, "V, V, 0, 0, 0"),
    "setpriority": (141, 140, "0, V, 19"),
    "sched_setaffinity": (203, 122, "V, 8, S"),
    "sched_setscheduler": (144, 119, "V, 0, S"),
    "ioprio_set": (251, 30, "1, V, 0"),
    "migrate_pages": (256, 238, "V, 8, S, S"),
    "move_pages": (279, 239, "V, 0, 0, 0, 0, 0"),
    "setpgid": (109, 154, "V, V"),
    "sched_setattr": (314, 274, "V, S, 0"),
    # files
    "creat": (85, None, "N, 0o600"),
    "openat, to write": (257, 56, "-100, P, 1"),
    "openat, to create": (257, 56, "-100, N, 0o100, 0o600"),
    "openat, to empty": (257, 56, "-100, P, 0o1000"),
    "openat2": (437, 437, "-100, P, S, 24"),
    "chmod": (90, None, "P, 0"),
    "fchmod": (91, 52, "F, 0"),
    "fchmodat": (268, 53, "-100, P, 0"),
    "fchmodat2": (452, 452, "-100, P, 0, 0"),
    "chown": (92, None, "P, -1, -1"),
    "fchownat": (260, 54, "-100, P, -1, -1, 0"),
    "mkdir": (83, None, "N, 0o700"),
    "mkdirat": (258, 34, "-100, N, 0o700"),
    "mknod": (133, None, "N, 0o10600, 0"),
    "mknodat": (259, 33, "-100, N, 0o10600, 0"),
    "utime": (132, None, "P, 0"),
    "utimes": (235, None, "P, 0"),
    "utimensat": (280, 88, "-100, P, 0, 0"),
    "rename": (82, None, "P, N"),
    "renameat": (264, 38, "-100, P, -100, N"),
    "renameat2": (316, 276, "-100, P, -100, N, 0"),
    "link": (86, None, "P, N"),
    "linkat": (265, 37, "-100, P, -100, N, 0"),
    "symlinkat": (266, 36, "P, -100, N"),
    "unlink": (87, None, "P"),
    "unlinkat": (263, 35, "-100, P, 0"),
    "rmdir": (84, None, "P"),
    "truncate": (76, 45, "P, 0"),
    "fallocate": (285, 47, "F, 0, 0, 1"),
    "setxattr": (188, 5, "P, P, S, 1, 0"),
    "removexattr": (197, 14, "P, P"),
    "flock": (73, 32, "F, 2"),
    "memfd_create": (319, 279, "P, 0"),
    "mount": (165, 40, "0, P, P, 0, 0"),
    "umount2": (166, 39, "P, 2"),
    "chroot": (161, 51, "P"),
    "inotify_init1": (294, 26, "0"),
    "name_to_handle_at": (303, 264, "-100, P, S, S, 0"),
    # out of the process
    "socket": (41, 198, "1, 1, 0"),
    "socketpair": (53, 199, "1, 1, 0, S"),
    "shmget": (29, 194, "0, 4096, 0o1600"),
    "msgget": (68, 186, "0, 0o1600"),
    "semget": (64, 190, "0, 1, 0o1600"),
    "mq_open": (240, 180, "P, 0o102, 0o600, 0"),
    "add_key": (248, 217, "P, P, S, 1, -1"),
    "keyctl": (250, 219, "0, -1, 0"),
    "bpf": (321, 280, "0, S, 64"),
    "io_uring_setup": (425, 425, "1, S"),
    "perf_event_open": (298, 241, "S, V, -1, -1, 0"),
    "userfaultfd": (323, 282, "1"),
    "unshare": (272, 97, "0x10000000"),
    "setns": (308, 268, "0, 0"),
    "execve": (59, 221, "P, 0, 0"),
    "execveat": (322, 281, "-100, P, 0, 0, 0"),
    "seccomp": (317, 277, "0, 0, 0"),
    "setrlimit": (160, 164, "9, S"),
    "prctl, tracer": (157, 167, "0x59616D61, V"),
    "madvise, faults": (28, 233, "0, 0, 100"),
    # more processes and threads
    "fork": (57, None, ""),
    "vfork": (58, None, ""),
    "clone, a process": (56, 220, "17, 0, 0, 0, 0"),
    "clone, a thread": (56, 220, "0x50F00, 0, 0, 0, 0"),
    "clone3": (435, 435, "S, 0"),
}


def probe_module():
    """The probe as a module, its process not begun."""
    spec = importlib.util.spec_from_file_location("baseline_probe", baseline.PROBE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRY_CALLS = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
V, P, N, S = {victim}, {file!r}.encode(), {new!r}.encode(), (ctypes.c_int * 64)(0, 0, -1)
F = os.open(P, os.O_RDONLY)
granted = []
for name, number, arguments in {calls!r}:
    ctypes.set_errno(0)
    result = libc.syscall(number, *eval("[" + arguments + "]"))
    if result != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        granted.append((name, result, ctypes.get_errno()))
raise ValueError(granted)
"""
WITHOUT_NAMESPACES = ("alone = leave_namespaces()", "alone = False")
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


@pytest.fixture(params=["with namespaces", "by the filter alone"])
def wall(request, tmp_path, monkeypatch) -> str:
    """What holds: all, or what is left on a system that grants no namespaces."""
    if request.param == "by the filter alone":
        probe = baseline.PROBE.read_text(encoding="utf-8")
        assert WITHOUT_NAMESPACES[0] in probe
        (tmp_path / "probe.py").write_text(probe.replace(*WITHOUT_NAMESPACES), encoding="utf-8")
        monkeypatch.setattr(baseline, "PROBE", tmp_path / "probe.py")
    return str(request.param)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="other numbers of calls")
def test_no_call_reaches_another_process_or_changes_a_file(wall, tmp_path):
    column = 0 if platform.machine() == "x86_64" else 1
    target, new = tmp_path / "target", tmp_path / "new"
    target.write_text("kept")
    before = target.stat()
    victim = subprocess.Popen(["sleep", "600"])
    try:
        calls = [(name, row[column], row[2]) for name, row in CALLS.items() if row[column] is not None]
        code = TRY_CALLS.format(victim=victim.pid, file=str(target), new=str(new), calls=calls)
        verdict = tried(code)
        assert (verdict.kind, verdict.message) == ("error", "ValueError: []")
        assert ("no-network" in verdict.isolation) <= (wall == "with namespaces")
        assert victim.poll() is None
    finally:
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    after = target.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (before.st_mode, before.st_mtime_ns, 4)
    assert not new.exists()


def test_honest_code_runs_behind_either_wall(wall):
    """Of the calls that PyTorch makes, none is refused that it needs."""
    verdict = tried(HONEST)
    assert (verdict.kind, verdict.message) == ("ok", "")


def test_without_the_filter_no_code_is_run(tmp_path, monkeypatch):
    probe = baseline.PROBE.read_text(encoding="utf-8").replace("if refuse_calls():", "if False:")
    (tmp_path / "probe.py").write_text(probe, encoding="utf-8")
    monkeypatch.setattr(baseline, "PROBE", tmp_path / "probe.py")
    with pytest.raises(BaselineError, match="no filter on system calls"):
        try_code(f"open({str(tmp_path / 'ran')!r}, 'w')")


def test_the_numbers_of_the_calls_are_the_kernels_own():
    """Against the headers, where they are installed: x86-64's own list, and the one that aarch64 shares."""
    lists = {
        "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        "aarch64": Path("/usr/include/asm-generic/unistd.h"),
    }
    names = {"fstatat": "newfstatat"}
    for machine, header in lists.items():
        if not header.exists():
            pytest.skip(f"there is no {header}")
        found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
        kernel = {names.get(name, name): int(number) for name, number in found}
        ours = probe_module().numbers(machine)
        assert len(ours) > 60 and {name: kernel.get(name) for name in ours} == ours


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
