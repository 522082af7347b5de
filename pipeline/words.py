"""Numbers as people read them."""

from pipeline.machine import GIB, MIB


def counted(number: int, thing: str) -> str:
    """So many things: ``1 block``, ``1,024 blocks``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def size(count: int) -> str:
    """Bytes."""
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"
