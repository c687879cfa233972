"""Runs in the isolated process of `nader.baseline`: gives up what could do harm, then tries the code.

Alone in its process, started with `python -I`; imports nothing of ours. What it gives up, in order: memory,
time and files (resource limits); network, the names of other processes and every writable mount (namespaces,
where the system grants them); every system call but those that compute, wait, and read files (a seccomp
filter). Without the filter no code is run; the namespaces are a second wall, and only they keep the code from
reading what /proc tells of other processes.
"""

import ctypes
import importlib.util
import json
import math
import os
import platform
import resource
import sys

SITES = (
    ("Cell", 16, 16, (8, 8), (8, 8)),
    ("Stem", 3, 16, (16, 16), (16, 16)),
    ("Downsample", 16, 32, (7, 9), (4, 5)),
)
"""Class, channels in and out, size in and out: what the prompt `direct_code` asks of each class."""

CALLS = """
brk 12 214, madvise 28 233, membarrier 324 283, mincore 27 232, mmap 9 222, mprotect 10 226,
mremap 25 216, munmap 11 215

access 21 -, close 3 57, dup 32 23, dup2 33 -, dup3 292 24, faccessat 269 48, faccessat2 439 439,
fcntl 72 25, fstat 5 80, fstatfs 138 44, getcwd 79 17, getdents 78 -, getdents64 217 61, ioctl 16 29,
lseek 8 62, lstat 6 -, newfstatat 262 79, open 2 -, openat 257 56, pread64 17 67, preadv 295 69,
read 0 63, readlink 89 -, readlinkat 267 78, readv 19 65, stat 4 -, statfs 137 43, statx 332 291,
write 1 64, writev 20 66

clock_getres 229 114, clock_gettime 228 113, clock_nanosleep 230 115, epoll_create1 291 20,
epoll_ctl 233 21, epoll_pwait 281 22, epoll_wait 232 -, eventfd2 290 19, futex 202 98,
gettimeofday 96 169, nanosleep 35 101, pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73, pselect6 270 72,
sched_yield 24 124, select 23 -, time 201 -

arch_prctl 158 -, exit 60 93, exit_group 231 94, get_mempolicy 239 236, getcpu 309 168, getegid 108 177,
geteuid 107 175, getgid 104 176, getgroups 115 158, getpgid 121 155, getpgrp 111 -, getpid 39 172,
getppid 110 173, getpriority 140 141, getrandom 318 278, getresgid 120 150, getresuid 118 148,
getrlimit 97 163, getrusage 98 165, getsid 124 156, gettid 186 178, getuid 102 174, prctl 157 167,
prlimit64 302 261, restart_syscall 219 128, rseq 334 293, rt_sigaction 13 134, rt_sigpending 127 136,
rt_sigprocmask 14 135, rt_sigreturn 15 139, sched_get_priority_max 146 125,
sched_get_priority_min 147 126, sched_getaffinity 204 123, sched_getparam 143 121,
sched_getscheduler 145 120, set_robust_list 273 99, set_tid_address 218 96, sigaltstack 131 132,
sysinfo 99 179, times 100 153, uname 63 160
"""
"""The calls that are allowed, by name with their numbers on x86-64 and aarch64: memory; files, which are
opened to be read; waiting; what a process asks of itself. All others are refused, those of tomorrow's kernels
too: a list of what is forbidden is never whole (a signal has eight ways to another process). None of these
makes a thread or a process: a block's forward and backward pass on one core needs neither.
"""
FIRST, SECOND, THIRD = 16, 24, 32
"""Offsets of the lower halves of a call's arguments in what a filter sees."""
ONLY_WITH = {
    "fcntl": (SECOND, (0, 1, 2, 3, 4, 1030)),
    "ioctl": (SECOND, (0x5401, 0x5413, 0x541B, 0x5450, 0x5451)),
    "prctl": (FIRST, (15, 16)),
}
"""Calls that are allowed with these values of one argument: a copy of a descriptor and its flags, and not an
owner to be sent signals; whether it is a terminal; a thread's name.
"""
OPENING = {"open": SECOND, "openat": THIRD}
"""Where their flags stand."""
WRITING = 0o1 | 0o2 | 0o100 | 0o1000
"""Flags: write only, read and write, create, truncate."""
MEMORY_FAULTS = 100
"""From here on the advice about memory is for tests of a machine, and takes its memory away."""
ARCHITECTURE = {"x86_64": (0xC000003E, 317, 126), "aarch64": (0xC00000B7, 277, 91)}
"""Audit number, then the numbers of seccomp and capset."""
FILES = 256
"""Descriptors that may be open."""
CLONE3, OPENAT2, MOUNT_SETATTR = 435, 437, 442
NEW_MOUNTS, NEW_USER, NEW_NETWORK, NEW_IPC = 0x20000, 0x10000000, 0x40000000, 0x08000000
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000
"""Verdicts of a seccomp filter; FAIL takes an error number."""
NOT_PERMITTED, NOT_IMPLEMENTED = 1, 38
LOAD, EQUAL, IS_SET, AT_LEAST, GIVE = 0x20, 0x15, 0x45, 0x35, 0x06
"""Codes of a filter's steps."""

libc = ctypes.CDLL(None, use_errno=True)


class Instruction(ctypes.Structure):
    """One step of a packet filter."""

    _fields_ = (
        ("code", ctypes.c_ushort),
        ("jt", ctypes.c_ubyte),
        ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )


class Program(ctypes.Structure):
    """A packet filter."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction)))


def limit(memory: int, seconds: int) -> None:
    """Address space in bytes, processor time in seconds; no file may grow, no core is dumped."""
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, FILES),
    ):
        resource.setrlimit(kind, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))  # a signal of its own before the kill


def leave_namespaces() -> bool:
    """A network without interfaces and mounts of our own; False where the system does not grant them."""
    return libc.unshare(NEW_USER | NEW_NETWORK | NEW_MOUNTS | NEW_IPC) == 0


def hide_files() -> bool:
    """Cover /proc, make every mount read-only, and drop the capabilities that could undo it."""
    private = libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None) == 0
    covered = libc.mount(b"none", b"/proc", b"tmpfs", 0, None) == 0
    attributes = (ctypes.c_uint64 * 4)(1, 0, 0, 0)
    readonly = libc.syscall(MOUNT_SETATTR, -100, b"/", 0x8000, attributes, ctypes.sizeof(attributes)) == 0
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    dropped = libc.syscall(ARCHITECTURE[platform.machine()][2], header, nothing) == 0
    return private and covered and readonly and dropped


def numbers(machine: str) -> dict[str, int]:
    """The allowed calls that a machine has, with their numbers there."""
    column = 1 + list(ARCHITECTURE).index(machine)
    rows = (row.split() for row in CALLS.replace("\n\n", ",").split(","))
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def allowed(name: str) -> list[tuple[int, int, int, int]]:
    """The steps that decide on one call, once it is known to be this: all end with a verdict."""
    yes, no = (GIVE, 0, 0, ALLOW), (GIVE, 0, 0, FAIL | NOT_PERMITTED)
    if name in ONLY_WITH:
        offset, values = ONLY_WITH[name]
        return [(LOAD, 0, 0, offset), *(step for v in values for step in ((EQUAL, 0, 1, v), yes)), no]
    if name in OPENING:
        return [(LOAD, 0, 0, OPENING[name]), (IS_SET, 0, 1, WRITING), no, yes]
    if name == "madvise":
        return [(LOAD, 0, 0, THIRD), (AT_LEAST, 0, 1, MEMORY_FAULTS), no, yes]
    if name == "prlimit64":  # one's own limits, and only to be told
        halves = (FIRST, THIRD, THIRD + 4)
        return [*(step for h in halves for step in ((LOAD, 0, 0, h), (EQUAL, 1, 0, 0), no)), yes]
    return [yes]


def filter_of(machine: str) -> list[tuple[int, int, int, int]]:
    """The steps of the filter: (code, jump if true, jump if false, value)."""
    kill = (GIVE, 0, 0, KILL)
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCHITECTURE[machine][0]), kill, (LOAD, 0, 0, 0)]
    steps += [(AT_LEAST, 0, 1, 0x40000000), kill]  # the x32 way into the same kernel
    for name, number in numbers(machine).items():
        decision = allowed(name)
        steps += [(EQUAL, 0, len(decision), number), *decision]
    for number in (CLONE3, OPENAT2):
        steps += [(EQUAL, 0, 1, number), (GIVE, 0, 0, FAIL | NOT_IMPLEMENTED)]  # glibc takes the older call
    return [*steps, (GIVE, 0, 0, FAIL | NOT_PERMITTED)]


def refuse_calls() -> bool:
    """A filter on system calls that no thread of this process can take off again."""
    machine = platform.machine()
    if machine not in ARCHITECTURE:
        return False
    steps = filter_of(machine)
    listed = (Instruction * len(steps))(*(Instruction(*step) for step in steps))
    program, seccomp = Program(len(steps), listed), ARCHITECTURE[machine][1]
    return libc.prctl(38, 1, 0, 0, 0) == 0 and libc.syscall(seccomp, 1, 1, ctypes.byref(program)) == 0


def try_classes(path: str) -> tuple[str, str]:
    """("ok", "") or what is wrong with the module: forward and backward at every site."""
    import torch

    spec = importlib.util.spec_from_file_location("block", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, channels, dim, size, expected in SITES:
        if not hasattr(module, name):
            return "interface", f"there is no class {name}"
        block = getattr(module, name)(channels, dim)
        if not isinstance(block, torch.nn.Module):
            return "interface", f"{name} is no torch.nn.Module"
        x = torch.randn(2, channels, *size, requires_grad=True)
        y = block(x)
        if tuple(y.shape) != (2, dim, *expected):
            return "shape", f"{name} gives {tuple(y.shape)}, not {(2, dim, *expected)}"
        y.sum().backward()
        if not math.isfinite(float(y.detach().sum())):
            return "number", f"{name} gives numbers that are not finite"
    return "ok", ""


def main() -> None:
    path, memory, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    word = sys.stdin.read()
    result = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    limit(memory, seconds)
    alone = leave_namespaces()
    import torch

    torch.set_num_threads(1)
    held = ["limits"]
    if alone:
        held.append("no-network")
        if hide_files():
            held.append("read-only")
    if refuse_calls():
        held.append("filter")
    if "filter" not in held:
        kind, message = "unprotected", "this system grants no filter on system calls (seccomp)"
    else:
        try:
            kind, message = try_classes(path)
        except MemoryError:
            kind, message = "memory", "more memory than allowed"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            kind = "memory" if "can't allocate memory" in text else "error"
            message = text
    verdict = {"kind": kind, "message": message[:1000], "isolation": held, "word": word}
    result.write(json.dumps(verdict) + "\n")
    result.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
