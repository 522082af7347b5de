"""The journal: what was recorded is there after any crash, and nothing else is."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.jobs import OUTLINE, SAMPLES
from pipeline.journal import Journal, Seal
from tiling.grid import BlockIndex

blocks = st.builds(BlockIndex, st.integers(0, 3), st.integers(0, 3))
changes = st.lists(st.tuples(st.sampled_from([SAMPLES, OUTLINE]), blocks, st.booleans()), max_size=20)


def line(stage: str, block: BlockIndex, number: int = 0) -> dict[str, object]:
    return {
        "stage": stage,
        "block": str(block),
        "seal": {"size": number, "crc": number},
        "counts": {"predicted": number},
    }


def apply(journal: Journal, steps: list[tuple[str, BlockIndex, bool]]) -> dict[str, set[BlockIndex]]:
    """Record or forget; what should be done in the end."""
    done: dict[str, set[BlockIndex]] = {SAMPLES: set(), OUTLINE: set()}
    for number, (stage, block, forget) in enumerate(steps):
        if forget:
            journal.forget(stage, [block])
            done[stage].discard(block)
        else:
            journal.record(line(stage, block, number))
            done[stage].add(block)
    return done


def state(journal: Journal) -> dict[str, set[BlockIndex]]:
    return {stage: set(journal.blocks(stage)) for stage in (SAMPLES, OUTLINE)}


@settings(max_examples=60, deadline=None)
@given(steps=changes)
def test_it_reads_back_what_was_recorded_and_not_undone(
    steps: list[tuple[str, BlockIndex, bool]], tmp_path_factory
) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = Journal.create(path, {"block": [64, 64]})
    done = apply(journal, steps)
    assert state(journal) == done
    journal.close()
    again = Journal.open(path)
    assert again.head == {"block": [64, 64]} == Journal.peek(path)
    assert state(again) == done
    again.close()


@settings(max_examples=60, deadline=None)
@given(steps=changes, cut=st.floats(0, 1), garbage=st.binary(max_size=40))
def test_a_torn_end_costs_only_itself(steps, cut: float, garbage: bytes, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = Journal.create(path, {"a": 1})
    sizes = [path.stat().st_size]
    states = [state(journal)]
    for step in steps:
        apply(journal, [step])
        if path.stat().st_size > sizes[-1]:
            sizes.append(path.stat().st_size)
            states.append(state(journal))
    journal.close()
    length = sizes[0] + int(cut * (sizes[-1] - sizes[0]))
    path.write_bytes(path.read_bytes()[:length] + garbage.replace(b"\n", b" "))
    again = Journal.open(path)
    whole = max(index for index, size in enumerate(sizes) if size <= length)
    assert state(again) == states[whole]
    assert path.stat().st_size == sizes[whole]
    again.record(line(SAMPLES, BlockIndex(9, 9)))
    again.close()
    third = Journal.open(path)
    assert BlockIndex(9, 9) in set(third.blocks(SAMPLES))
    third.close()


@settings(max_examples=80, deadline=None)
@given(place=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_flipped_bit_never_makes_up_a_block(place: float, bit: int, tmp_path_factory) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = Journal.create(path, {"a": 1})
    written = [line(SAMPLES, BlockIndex(0, number), number) for number in range(5)]
    journal.record(*written)
    journal.close()
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1 << bit
    path.write_bytes(content)
    if Journal.peek(path) is None:
        return  # the head is gone: the run starts anew
    again = Journal.open(path)
    assert list(again.facts(SAMPLES)) == written[: len(list(again.blocks(SAMPLES)))]
    again.close()


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_it_as_it_was(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    journal = Journal.create(path, {"a": 1})
    journal.record(line(SAMPLES, BlockIndex(0, 0)))
    before = path.read_bytes()
    write = os.write

    def half(handle: int, data: bytes) -> int:
        return write(handle, data[: len(data) // 2])

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, call, half if call == "write" else broken)
    with pytest.raises(OSError, match=r"No space|input/output"):
        journal.record(line(SAMPLES, BlockIndex(0, 1)))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert set(journal.blocks(SAMPLES)) == {BlockIndex(0, 0)}
    journal.close()


def test_a_seal_tells_any_other_file(tmp_path: Path) -> None:
    path = tmp_path / "shard"
    assert Seal.of(path) is None
    path.write_bytes(b"samples")
    seal = Seal.of(path)
    path.write_bytes(b"sampleS")
    assert Seal.of(path) != seal
    journal = Journal.create(tmp_path / "journal", {})
    block = BlockIndex(1, 2)
    assert seal is not None
    journal.record(line(SAMPLES, block) | {"seal": {"size": seal.size, "crc": seal.crc}})
    assert journal.sealed(SAMPLES, block, seal)
    assert not journal.sealed(SAMPLES, block, Seal.of(path))
    assert not journal.sealed(SAMPLES, block, None)
    journal.close()


def test_a_line_is_a_checksum_and_json(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal", {"a": 1})
    journal.close()
    text = (tmp_path / "journal").read_text()
    assert json.loads(text[9:]) == {"a": 1}
