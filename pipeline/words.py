"""Numbers and addresses as people read them."""

import re

from pipeline.machine import GIB, MIB

# What signs a URL, and nobody else may read.
SECRET = re.compile(r"\?[^\s'\"]*")


def counted(number: int, thing: str) -> str:
    """So many things: ``1 block``, ``1,024 blocks``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def size(count: int) -> str:
    """Bytes."""
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"


def public(text: str) -> str:
    """A text without the queries of URLs, which may hold keys."""
    return SECRET.sub("?…", text) if "://" in text else text
