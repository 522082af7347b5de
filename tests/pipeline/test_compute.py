"""The ledger: from any state, in any order, every block is computed once, and outlined after what it needs."""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pipeline import store
from pipeline.compute import Computation, Ledger
from pipeline.errors import BlocksFailed
from pipeline.footprints import outline
from pipeline.graph import ATTEMPTS
from pipeline.jobs import OUTLINE, SAMPLES, Finished, Job
from pipeline.journal import Journal
from pipeline.log import Log
from pipeline.progress import Progress
from pipeline.store import DamagedBlock
from pipeline.tasks import Counts, Stored, Written
from tiling.grid import BlockIndex

FOR_EVER = 10**6


@dataclass
class Hands:
    """A crew whose jobs end in an order that the test chooses; it keeps the samples and checks what outlines need."""

    plan: Any
    order: st.DataObject
    bad: frozenset[BlockIndex] = frozenset()
    rotten: dict[BlockIndex, int] = field(default_factory=dict)
    lasting: int = 10**6
    running: list[Job] = field(default_factory=list)
    samples: set[BlockIndex] = field(default_factory=set)
    done: Counter[tuple[str, BlockIndex]] = field(default_factory=Counter)

    @property
    def busy(self) -> int:
        return len(self.running)

    @property
    def has_room(self) -> bool:
        return self.busy < 3

    def start(self, job: Job) -> None:
        assert job not in self.running
        self.running.append(job)

    def finished(self) -> Iterator[Finished]:
        if self.lasting == 0 or not self.running:
            return
        self.lasting -= 1
        index = self.order.draw(st.integers(0, len(self.running) - 1))
        yield self.do(self.running.pop(index))

    def do(self, job: Job) -> Finished:
        self.done[job.stage, job.block] += 1
        if job.stage == SAMPLES:
            if job.block in self.bad:
                return Finished(job, error=RuntimeError("always"))
            self.samples.add(job.block)
            return Finished(job, Stored(Counts(1, 0, 0), None, {}))
        for down, right in itertools.product((0, 1), repeat=2):
            near = BlockIndex(job.block.row + down, job.block.col + right)
            inside = near.row < self.plan.active.shape[0] and near.col < self.plan.active.shape[1]
            if not inside or not self.plan.active[near.row, near.col] or near in self.bad:
                continue
            assert near in self.samples, f"{job} before {near}"
            if self.rotten.get(near):
                self.rotten[near] -= 1
                return Finished(job, error=DamagedBlock(near, "rot"))
        return Finished(job, Written(None, {}))


def computation(hands: Hands, journal: Journal, folder: Path, stop: bool = False) -> Computation:
    progress = Progress(Log(folder / "run.log"), Console(quiet=True))
    return Computation(hands.plan, journal, hands, progress, stop)  # type: ignore[arg-type]


def compute(hands: Hands, journal: Journal, folder: Path, stop: bool = False) -> Ledger:
    work = computation(hands, journal, folder, stop)
    try:
        return work.run()
    finally:
        work.progress.log.close()


actives = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=3).map(np.array)
places = st.builds(BlockIndex, st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=80, deadline=None)
@given(active=actives, stops=st.lists(st.integers(0, 12), max_size=3), data=st.data())
def test_interrupted_anywhere_every_block_is_computed_once(
    active: Any, stops: list[int], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, plan = tmp_path_factory.mktemp("work"), SimpleNamespace(active=active)
    Journal.create(folder / "journal", {}).close()
    samples: set[BlockIndex] = set()
    done: Counter[tuple[str, BlockIndex]] = Counter()
    for lasting in [*stops, 10**6]:
        journal = Journal.open(folder / "journal")
        hands = Hands(plan, data, lasting=lasting, samples=samples)
        ledger = compute(hands, journal, folder)
        journal.close()
        done += hands.done
    wanted = {BlockIndex(int(r), int(c)) for r, c in zip(*np.nonzero(active), strict=True)}
    traced = {BlockIndex(int(r), int(c)) for r, c in zip(*np.nonzero(outline.traced(active)), strict=True)}
    assert done == Counter({**{(SAMPLES, b): 1 for b in wanted}, **{(OUTLINE, b): 1 for b in traced}})
    assert ledger.failed == {}


@settings(max_examples=60, deadline=None)
@given(bad=st.frozensets(places, min_size=1, max_size=3), data=st.data())
def test_failed_blocks_do_not_hold_up_the_rest_and_are_mended_later(
    bad: frozenset[BlockIndex], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("work")
    plan = SimpleNamespace(active=np.ones((3, 3), bool), probabilities=folder / "probability.zarr")
    journal = Journal.create(folder / "journal", {})
    first = Hands(plan, data, bad)
    shards = [store.shard_path(plan.probabilities, BlockIndex(row, col)) for row in range(3) for col in range(3)]
    for shard in shards:
        shard.parent.mkdir(parents=True, exist_ok=True)
        shard.touch()
    ledger = compute(first, journal, folder)
    assert set(ledger.failed) == bad
    assert sum(not shard.exists() for shard in shards) == len(bad), "what was given up is no data, whatever was there"
    assert len(first.samples) == 9 - len(bad)
    spoilt = {BlockIndex(b.row - down, b.col - right) for b in bad for down in (0, 1) for right in (0, 1)}
    assert set(journal.blocks(OUTLINE)).isdisjoint(spoilt)
    second = Hands(plan, data, samples=first.samples)
    assert compute(second, journal, folder).failed == {}
    assert {block for stage, block in second.done if stage == SAMPLES} == bad
    assert len(set(journal.blocks(OUTLINE))) == 9
    journal.close()


@settings(max_examples=30, deadline=None)
@given(block=places, times=st.sampled_from([1, ATTEMPTS, FOR_EVER]), data=st.data())
def test_damaged_samples_are_computed_again_but_not_for_ever(
    block: BlockIndex, times: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("work")
    plan = SimpleNamespace(active=np.ones((3, 3), bool), probabilities=folder / "probability.zarr")
    journal = Journal.create(folder / "journal", {})
    hands = Hands(plan, data, rotten={block: times})
    ledger = compute(hands, journal, folder)
    assert 1 < hands.done[SAMPLES, block] <= 1 + ATTEMPTS
    assert all(count == 1 for (stage, other), count in hands.done.items() if stage == SAMPLES and other != block)
    assert bool(ledger.failed) == (times == FOR_EVER)
    journal.close()


def test_on_error_stop_ends_at_the_first(tmp_path: Path) -> None:
    plan = SimpleNamespace(active=np.ones((1, 3), bool), probabilities=tmp_path / "probability.zarr")
    journal = Journal.create(tmp_path / "journal", {})

    class First:
        def draw(self, _: object) -> int:
            return 0

    hands = Hands(plan, First(), frozenset({BlockIndex(0, 1)}))  # type: ignore[arg-type]
    with pytest.raises(BlocksFailed, match="block 0-1 failed"):
        compute(hands, journal, tmp_path, stop=True)
    assert set(journal.blocks(SAMPLES)) == {BlockIndex(0, 0)}
    journal.close()
