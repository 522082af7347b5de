"""What a process does when it is asked to end: Ctrl-C in a terminal, a batch system's SIGTERM."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handled(handlers: Mapping[int, Callable[[int, Any], object] | signal.Handlers]) -> Iterator[None]:
    """Handle some signals while the context lasts, and then as before; only a main thread may."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore() -> None:
    """Leave it to the process that started this one: what asks to end reaches all of them, and that one decides."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
