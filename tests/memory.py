"""The memory of this process, as Linux counts it."""

from pathlib import Path

PROCESS = Path("/proc/self")


def resident() -> int:
    """Bytes that are in memory now."""
    return _status("VmRSS")


def peak() -> int:
    """The most bytes that have been in memory at a time."""
    return _status("VmHWM")


def forget_peak() -> None:
    """Let ``peak`` start anew.

    Raises:
        OSError: the kernel does not know how.
    """
    (PROCESS / "clear_refs").write_text("5", encoding="ascii")


def _status(key: str) -> int:
    return int((PROCESS / "status").read_text(encoding="ascii").split(f"{key}:")[1].split()[0]) << 10
