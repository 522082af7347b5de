"""SQLite's method: the process ends, or the disk fails, at the k-th I/O call; the next run makes the same bytes."""

from pathlib import Path

import pytest
import runs
import small

CHUNKS = 10
"""Parts of a long sweep, each of which can be run by itself."""


@pytest.fixture
def region(tmp_path: Path, tiny_weights: Path) -> Path:
    return small.tiny_region(tmp_path, tiny_weights)


def assert_resumes(region: Path, zygote: runs.Zygote, undisturbed: runs.Outcome) -> None:
    """The next run ends well, and its outputs are those of an undisturbed one."""
    done = zygote.run(region)
    assert done.code == 0, done.text
    output = region.parent / "out"
    assert runs.digest(output) == undisturbed.digest
    assert runs.strays(output) == []


@pytest.mark.parametrize("share", [0.55, 0.8, 0.97])
def test_a_crash_anywhere_is_resumed(
    share: float, region: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    assert zygote.run(region, kind="exit", at=int(undisturbed.calls * share)).code == 137
    assert_resumes(region, zygote, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_crash_at_every_call_is_resumed(
    chunk: int, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    at, code = chunk + 1 - CHUNKS, 137
    while code == 137:
        at += CHUNKS
        region = small.tiny_region(tmp_path / str(at), tiny_weights)
        code = zygote.run(region, kind="exit", at=at).code
        assert_resumes(region, zygote, undisturbed)
    assert code == 0
    assert at > 0.9 * undisturbed.calls
    print(f"chunk {chunk}: exits at every {CHUNKS}th I/O call up to {at}; no byte differs")


def strikes(kind: str, at: int, last: int | None, region: Path, zygote: runs.Zygote) -> runs.Done:
    """The disk fails: the run ends with a sentence, or gets over it."""
    done = zygote.run(region, kind=kind, at=at, last=last)
    assert "Traceback" not in done.text, done.text
    assert done.code in (0, 1, 2, 3), done.text
    return done


@pytest.mark.parametrize("share", [0.08, 0.3, 0.9])
def test_a_full_disk_ends_the_run_with_a_sentence(
    share: float, region: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    done = strikes("ENOSPC", int(undisturbed.calls * share), None, region, zygote)
    assert done.code in (1, 2)
    assert "No space left on device" in done.text
    assert_resumes(region, zygote, undisturbed)


@pytest.mark.parametrize("kind", ["EIO", "EACCES"])
def test_a_disk_that_fails_once_loses_nothing(
    kind: str, region: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    at = int(undisturbed.calls * 0.4)
    strikes(kind, at, at, region, zygote)
    assert_resumes(region, zygote, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize(("kind", "lasting"), [("ENOSPC", True), ("EIO", False), ("EACCES", False), ("EIO", True)])
def test_an_error_at_every_call_is_survived(
    kind: str, lasting: bool, chunk: int, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote,
    undisturbed: runs.Outcome,
) -> None:  # fmt: skip
    codes = []
    for at in range(chunk + 1, undisturbed.calls + 1, CHUNKS):
        region = small.tiny_region(tmp_path / str(at), tiny_weights)
        codes.append(strikes(kind, at, None if lasting else at, region, zygote).code)
        assert_resumes(region, zygote, undisturbed)
    times = "from then on" if lasting else "once"
    print(
        f"chunk {chunk}: {kind} {times} at {len(codes)} I/O calls, {codes.count(0)} runs got over it; no byte differs"
    )
