"""What this machine has: cores, memory, disk, GPUs. Cheap to ask; nothing heavy is imported."""

import ctypes
import os
import shutil
from contextlib import suppress
from pathlib import Path

import psutil

MIB = 1 << 20
GIB = 1 << 30


def cores() -> int:
    """Processor cores that this process may use (affinity and cgroup quota counted in)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup("cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        allowed = min(allowed, max(1, int(quota[0]) // int(quota[1])))
    return allowed


def memory() -> int:
    """Bytes of memory that this machine, or this process's control group, has in all."""
    limit = _cgroup("memory.max").strip()
    total = int(psutil.virtual_memory().total)
    return min(total, int(limit)) if limit.isdigit() else total


def peak_memory() -> int | None:
    """Bytes that this process and its workers here held, each at its own peak; None where that is not known."""
    return sum(_peak(process.pid) for process in family()) or None


def memory_in_use() -> int:
    """Bytes that this process and its workers here hold."""
    used = 0
    for process in family():
        with suppress(psutil.Error):  # one that has just ended
            used += process.memory_info().rss
    return used


def family() -> list[psutil.Process]:
    """This process and its workers here, but not the server that they are forked from: its pages are theirs."""
    own = psutil.Process()
    below = own.children(recursive=True)
    parents = {process.ppid() for process in below}
    return [own, *(process for process in below if process.pid not in parents)]


def _peak(process: int) -> int:
    """Peak resident memory of a process (``VmHWM`` of Linux), B; 0 where it is not known."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)


def disk_free(folder: Path) -> int:
    """Bytes free on the disk that holds, or will hold, ``folder``."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def gpus() -> int:
    """CUDA devices that the driver shows to this process (``CUDA_VISIBLE_DEVICES`` counted in); 0 without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _cgroup(name: str) -> str:
    """A file of this process's control group (version 2), or nothing."""
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="ascii")
    except OSError:
        return ""
