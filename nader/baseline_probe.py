"""Runs in the isolated process of `nader.baseline`: gives up what could do harm, then tries the code.

Alone in its process, started with `python -I`; imports nothing of ours. What it gives up, in order: memory,
time and files (resource limits); network, the names of other processes and every writable mount (namespaces,
where the system grants them); sockets, new processes, signals, opening files for writing and removing
them (a seccomp filter).
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

DENIED = {
    "x86_64": "85 41 53 57 58 59 62 76 82 84 86 87 88 101 200 234 263 264 265 266 310 311 316 322 424 425",
    "aarch64": "35 36 37 38 45 117 129 130 131 198 199 221 270 271 276 281 424 425",
}
"""Numbers of: creat, socket, socketpair, fork, vfork, execve(at), kill, tkill, tgkill, pidfd_send_signal,
truncate, rename(at), rmdir, link(at), symlink(at), unlink(at), ptrace, process_vm_readv/writev,
io_uring_setup.
"""
ARCHITECTURE = {"x86_64": (0xC000003E, 56, 317, 126), "aarch64": (0xC00000B7, 220, 277, 91)}
"""Audit number, then the numbers of clone, seccomp and capset."""
OPENING = {"x86_64": ((2, 24), (257, 32)), "aarch64": ((56, 32),)}
"""Numbers of open and openat, each with the offset of its flags in what a filter sees."""
WRITING = 0o1 | 0o2 | 0o100 | 0o1000
"""Flags: write only, read and write, create, truncate."""
CLONE3, OPENAT2, MOUNT_SETATTR = 435, 437, 442
NEW_MOUNTS, NEW_USER, NEW_NETWORK, NEW_IPC = 0x20000, 0x10000000, 0x40000000, 0x08000000
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000
"""Verdicts of a seccomp filter; FAIL takes an error number."""
NOT_PERMITTED, NOT_IMPLEMENTED = 1, 38

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
    for kind, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
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
    dropped = libc.syscall(ARCHITECTURE[platform.machine()][3], header, nothing) == 0
    return private and covered and readonly and dropped


def refuse_calls() -> bool:
    """A filter on system calls that no thread of this process can take off again."""
    machine = platform.machine()
    if machine not in ARCHITECTURE:
        return False
    audit, clone, seccomp, _ = ARCHITECTURE[machine]
    load, equal, is_set, at_least, give = 0x20, 0x15, 0x45, 0x35, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, audit), (give, 0, 0, KILL), (load, 0, 0, 0)]
    steps += [(at_least, 0, 1, 0x40000000), (give, 0, 0, KILL)]  # the x32 way into the same kernel
    for number in map(int, DENIED[machine].split()):
        steps += [(equal, 0, 1, number), (give, 0, 0, FAIL | NOT_PERMITTED)]
    for number in (CLONE3, OPENAT2):
        steps += [(equal, 0, 1, number), (give, 0, 0, FAIL | NOT_IMPLEMENTED)]  # glibc takes the older call
    for number, offset in OPENING[machine]:
        read_only = [(load, 0, 0, offset), (is_set, 0, 1, WRITING), (give, 0, 0, FAIL | NOT_PERMITTED)]
        steps += [(equal, 0, 4, number), *read_only, (give, 0, 0, ALLOW)]
    threads_only = [(load, 0, 0, 16), (is_set, 1, 0, 0x10000), (give, 0, 0, FAIL | NOT_PERMITTED)]
    steps += [(equal, 0, 4, clone), *threads_only, (give, 0, 0, ALLOW), (give, 0, 0, ALLOW)]
    listed = (Instruction * len(steps))(*(Instruction(*step) for step in steps))
    program = Program(len(steps), listed)
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
    if "no-network" not in held and "filter" not in held:
        kind, message = "unprotected", "this system grants neither namespaces nor a seccomp filter"
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


main()
