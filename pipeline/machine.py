"""What this machine has: cores, memory, disk, GPUs. Cheap to ask; nothing heavy is imported."""

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

MIB = 1 << 20
GIB = 1 << 30
CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores() -> int:
    """Processor cores that this process may use (affinity and cgroup quota counted in)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [max(1, int(time) // int(period)) for time, period in _limits("cpu.max") if time.isdigit()]
    return min([allowed, *quotas])


def memory() -> int:
    """Bytes of memory that this machine, or this process's control group, has in all."""
    limits = [int(limit) for (limit,) in _limits("memory.max") if limit.isdigit()]
    return min([int(psutil.virtual_memory().total), *limits])


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


def _limits(name: str) -> Iterator[list[str]]:
    """The words of a file of this process's control group (version 2), which a batch job has, and of those above it."""
    try:
        lines = OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    for group in (CGROUPS / own, *(CGROUPS / own).parents):
        with suppress(OSError):
            yield (group / name).read_text(encoding="ascii").split()
        if group == CGROUPS:
            return
