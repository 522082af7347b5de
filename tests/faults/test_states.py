"""Whatever happened before, in any order: a resumed run counts exactly the blocks whose files are whole.

A state machine computes, records, forgets, publishes, leaves or dies, also in the middle of a write; between runs, bits
flip and files get lost. Its oracle replays the part of the journal that is as it was left, and compares bytes.
"""

import json
import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import small
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from numpy.typing import NDArray
from rich.console import Console

from pipeline import config, fingerprint, names, store, survey, tasks, workspace
from pipeline.errors import OutputError
from pipeline.jobs import OUTLINE, SAMPLES
from pipeline.journal import Journal
from pipeline.log import Log
from pipeline.plan import Plan
from pipeline.produce import Production
from pipeline.progress import Progress
from pipeline.store import DamagedBlock
from pipeline.tasks import Counts, Samples, Tile
from pipeline.trial import Request
from tiling.grid import BlockIndex

EMPTY = BlockIndex(1, 0)
"""The block without a valid pixel: nothing is stored of it, and that is what the journal says."""
blocks = st.builds(BlockIndex, st.integers(0, 1), st.integers(0, 1))
stages = st.sampled_from([SAMPLES, OUTLINE])
shares = st.floats(0, 1)


@dataclass(frozen=True)
class Place:
    """Where damage is done."""

    number: int
    """Of the file, and of the bit."""
    share: float
    """How far into the file."""


places = st.builds(Place, st.integers(0, 99), shares)
damages = st.sampled_from(["file", "file", "loss", "journal", "end of journal"])


@dataclass(frozen=True)
class Setting:
    """What all runs of the machine share."""

    production: Production
    """Of the region; its workspace and progress are replaced."""
    plan: Plan
    """2 × 2 blocks of at most 64 px."""


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Setting:
    folder = tmp_path_factory.mktemp("states")
    small.write_blots(folder / "a.tif", 1, (0, 0), (100, 120))
    path = small.write_region(folder, tiny_weights, ["a.tif"], **small.FINE)
    plan, region = small.planned(path), config.load(path)
    request = Request.of(region)
    identity = fingerprint.of(region, survey.survey(region), request.weights)
    nobody = workspace.Workspace(folder), Progress(Log(folder / "run.log"), Console(quiet=True))
    return Setting(Production(region, plan.mosaic, request, identity, *nobody), plan)


class Output(RuleBasedStateMachine):
    """One output folder, and the runs that come and go."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        super().__init__()
        self.production, self.plan = setting.production, replace(setting.plan, output=folder)
        self.work, self.path = self.plan.work, self.plan.work / names.JOURNAL
        self.run = ExitStack()
        self.journal: Journal | None = None
        self.space = workspace.Workspace(folder)
        self.left = b""  # the journal, as the last run that lived wrote it
        self.recorded: dict[tuple[str, BlockIndex], bytes | None] = {}

    @property
    def alive(self) -> bool:
        """Whether a run is at work."""
        return self.journal is not None

    def file(self, stage: str, block: BlockIndex) -> Path:
        """Where the result of a stage lies."""
        if stage == OUTLINE:
            return self.plan.outline_path(block)
        unfinished = self.plan.probabilities
        return store.shard_path(unfinished if unfinished.exists() else self.plan.output / names.STORE, block)

    def whole(self, stage: str, block: BlockIndex) -> bool:
        """Whether a file has the bytes that it had when it was recorded."""
        return content(self.file(stage, block)) == self.recorded[stage, block]

    def expected(self) -> dict[str, set[BlockIndex]]:
        """The oracle: what is done according to the lines that are as they were left, and to the files."""
        now = content(self.path) or b""
        said = replayed(self.left[: common(now, self.left)])
        samples = {block for block in said[SAMPLES] if self.whole(SAMPLES, block)}
        spoilt = {reader for block in said[SAMPLES] - samples for reader in tasks.readers(block, self.plan.grid)}
        return {SAMPLES: samples, OUTLINE: {b for b in said[OUTLINE] - spoilt if self.whole(OUTLINE, b)}}

    @precondition(lambda self: not self.alive)
    @rule(damages=st.lists(st.tuples(damages, places), max_size=2))
    def resume(self, damages: list[tuple[str, Place]]) -> None:
        if self.path.exists():
            for damage, at in damages:
                self.suffer(damage, at)
        expected = self.expected()
        self.space = self.run.enter_context(workspace.hold(self.plan.output))
        tasks.prepare(self.plan)
        self.journal = replace(self.production, space=self.space)._open(self.plan)
        self.run.callback(self.journal.close)
        self.left = self.path.read_bytes()
        assert {stage: set(self.journal.blocks(stage)) for stage in expected} == expected
        for block in expected[SAMPLES]:
            window = self.plan.grid.window(block)
            assert np.array_equal(store.read(self.plan.probabilities, window, self.plan.grid), values(block, self.plan))
        assert not list(self.plan.output.rglob("*.partial"))

    @precondition(lambda self: self.alive)
    @rule(several=st.lists(blocks, min_size=1))
    def compute(self, several: list[BlockIndex]) -> None:
        for block in several:
            self.record(SAMPLES, block, self.stored(block))

    @precondition(lambda self: self.alive)
    @rule(block=blocks)
    def compute_without_recording(self, block: BlockIndex) -> None:
        self.stored(block)

    @precondition(lambda self: self.alive)
    @rule(block=blocks)
    def outline(self, block: BlockIndex) -> None:
        assert self.journal
        near = (BlockIndex(block.row + down, block.col + right) for down in (0, 1) for right in (0, 1))
        needed = {each for each in near if each in self.plan.grid}
        if not needed <= set(self.journal.blocks(SAMPLES)):
            return
        try:
            self.record(OUTLINE, block, tasks.outline(block).line())
        except DamagedBlock as error:
            damaged = error.block
            self.forget(SAMPLES, damaged)
            assert not self.whole(SAMPLES, damaged)

    @precondition(lambda self: self.alive)
    @rule(stage=stages, block=blocks)
    def forget(self, stage: str, block: BlockIndex) -> None:
        assert self.journal
        self.journal.forget(stage, [block])
        self.left = self.path.read_bytes()

    @precondition(lambda self: self.alive)
    @rule()
    def a_second_run_is_refused(self) -> None:
        with pytest.raises(OutputError, match="another run is at work here"), workspace.hold(self.plan.output):
            pass

    @precondition(lambda self: self.alive)
    @rule()
    def another_configuration_is_refused(self) -> None:
        identity = self.production.fingerprint
        assert not self.space.finished(identity)
        with pytest.raises(OutputError, match=r"weights: was \w+, is now other"):
            self.space.finished({**identity, "weights": "other"})

    @precondition(lambda self: self.alive)
    @rule()
    def leave(self) -> None:
        self.run.close()
        self.journal = None

    @precondition(lambda self: self.alive)
    @rule()
    def publish(self) -> None:
        self.space.publish_store(self.plan.probabilities)
        self.space.tidy()
        self.leave()

    @precondition(lambda self: self.alive)
    @rule()
    def die(self) -> None:
        """The kernel lets go of the lock; the lease stays."""
        lease = content(self.work / "lease")
        assert lease
        self.leave()
        (self.work / "lease").write_bytes(lease)

    @precondition(lambda self: self.alive)
    @rule(block=blocks, share=shares)
    def die_while_recording(self, block: BlockIndex, share: float) -> None:
        before = len(self.left)
        self.compute([block])
        self.die()
        os.truncate(self.path, before + int(share * (len(self.left) - before)))

    @precondition(lambda self: self.alive)
    @rule(block=blocks)
    def die_while_storing(self, block: BlockIndex) -> None:
        """Only blocks that are not done are stored."""
        assert self.journal
        self.journal.forget(SAMPLES, [block])
        self.left = self.path.read_bytes()
        shard = self.file(SAMPLES, block)
        shard.unlink(missing_ok=True)
        shard.parent.mkdir(parents=True, exist_ok=True)
        shard.with_suffix(".0123456789abcdef.partial").write_bytes(b"half of it")
        self.die()

    @precondition(lambda self: self.files)
    @rule(at=places)
    def a_bit_flips(self, at: Place) -> None:
        flip(self.files[at.number % len(self.files)], at)

    def suffer(self, damage: str, at: Place) -> None:
        """Damage what a run has left."""
        if damage == "journal":
            flip(self.path, at)
        elif damage == "end of journal":
            now = content(self.path) or b""
            last = now.rstrip(b"\n").rfind(b"\n") + 1
            self.path.write_bytes(now[: last + int(at.share * (len(now) - last))] + bytes(at.number % 3))
        elif self.files:
            file = self.files[at.number % len(self.files)]
            flip(file, at) if damage == "file" else file.unlink()

    @property
    def files(self) -> list[Path]:
        """The blocks' files that are there."""
        return [path for key in sorted(self.recorded) if (path := self.file(*key)).exists()]

    def stored(self, block: BlockIndex) -> dict[str, object]:
        """Store the samples of a block; the line of the journal."""
        tile = Tile(block, None, np.zeros(0, bool), Counts(1, 0, 0), 0.0)
        samples = None if block == EMPTY else values(block, self.plan)
        return tasks.keep(tile, Samples(samples, 0.0)).line()

    def record(self, stage: str, block: BlockIndex, line: dict[str, object]) -> None:
        """Record that a stage of a block is done; the same work has the same bytes whenever it is done."""
        assert self.journal
        now = content(self.file(stage, block))
        assert self.recorded.setdefault((stage, block), now) == now
        self.journal.record({"stage": stage, "block": str(block), **line})
        self.left = self.path.read_bytes()

    def teardown(self) -> None:
        self.run.close()
        shutil.rmtree(self.plan.output, ignore_errors=True)


def content(path: Path) -> bytes | None:
    """The bytes of a file; None where there is none."""
    return path.read_bytes() if path.exists() else None


def common(one: bytes, other: bytes) -> int:
    """The length of the whole lines with which both begin."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return other.rfind(b"\n", 0, same) + 1


def flip(path: Path, at: Place) -> None:
    """Flip one bit of a file, unless it is empty."""
    changed = bytearray(path.read_bytes())
    if changed:
        changed[int(at.share * (len(changed) - 1))] ^= 1 << at.number % 8
        path.write_bytes(changed)


def replayed(lines: bytes) -> dict[str, set[BlockIndex]]:
    """What lines of a journal say."""
    done: dict[str, set[BlockIndex]] = {SAMPLES: set(), OUTLINE: set()}
    for line in lines.splitlines()[1:]:
        facts = json.loads(line[9:])
        block = BlockIndex(*map(int, facts["block"].split("-")))
        (done[facts["stage"]].discard if facts.get("undone") else done[facts["stage"]].add)(block)
    return done


def values(block: BlockIndex, plan: Plan) -> NDArray[np.uint8]:
    """The samples of a block, which depend on nothing else."""
    shape = plan.grid.window(block).shape
    if block == EMPTY:
        return np.full(shape, store.NO_DATA, np.uint8)
    return np.random.default_rng([block.row, block.col]).integers(0, store.SAMPLE_MAX, shape, dtype=np.uint8)


@pytest.mark.parametrize("examples", [30, pytest.param(2_000, marks=[pytest.mark.slow, pytest.mark.timeout(4 * 3600)])])
def test_a_resumed_run_counts_exactly_what_is_whole(
    examples: int, setting: Setting, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run_state_machine_as_test(
        lambda: Output(setting, tmp_path_factory.mktemp("output")),
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    print(f"{examples} examples of up to 30 steps: every resumed run counted exactly what was whole")
