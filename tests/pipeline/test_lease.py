"""The lease: a living owner is named, a dead one taken over, a foreign one watched."""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from pipeline import lease
from pipeline.errors import OutputError
from pipeline.lease import Owner


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    monkeypatch.setattr(lease, "PATIENCE", 0.6)
    return tmp_path / "lease"


def test_it_is_there_while_it_is_held_and_beats(path: Path) -> None:
    with lease.hold(path):
        first = Owner.read(path)
        assert first is not None
        assert (first.host, first.pid) == (socket.gethostname(), os.getpid())
        time.sleep(0.35)
        later = Owner.read(path)
        assert later is not None
        assert later.beat > first.beat
    assert not path.exists()
    with lease.hold(path):
        pass


def test_the_owner_is_named(path: Path) -> None:
    with lease.hold(path), pytest.raises(OutputError) as refused, lease.hold(path):
        pass
    assert f"host {socket.gethostname()}, process {os.getpid()}" in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("content", ["", "{", '{"host": 3}', "[]"])
def test_a_torn_lease_has_no_owner(content: str, path: Path) -> None:
    path.write_text(content)
    with lease.hold(path):
        assert str(os.getpid()) in path.read_text(), "this process is named as the owner"


def test_a_dead_owner_of_this_machine_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PATIENCE", 3600)
    Owner(socket.gethostname(), 1, "gone").write(path)
    with lease.hold(path):
        assert path.exists()


def test_a_silent_owner_of_another_machine_is_taken_over_after_a_while(path: Path) -> None:
    Owner("elsewhere", 7, "silent").write(path)
    started = time.monotonic()
    with lease.hold(path):
        assert time.monotonic() - started >= 0.6


def test_an_owner_of_another_machine_that_beats_is_respected(path: Path) -> None:
    stop = threading.Event()

    def beat() -> None:
        number = 0
        while not stop.wait(0.1):
            number += 1
            Owner("elsewhere", 7, "alive", number).write(path)

    Owner("elsewhere", 7, "alive").write(path)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(OutputError, match="host elsewhere, process 7"), lease.hold(path):
            pass
    finally:
        stop.set()
        thread.join()


def test_a_run_whose_lease_was_taken_is_asked_to_stop(path: Path) -> None:
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        with lease.hold(path):
            Owner("elsewhere", 7, "thief").write(path)
            deadline = time.monotonic() + 5
            while not asked and time.monotonic() < deadline:
                time.sleep(0.02)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert asked == [signal.SIGTERM]
    assert json.loads(path.read_text())["pid"] == 7, "the new owner's lease is not removed"
