"""Neither the number of workers nor the order in which blocks are computed leaves a trace in the outputs."""

from pathlib import Path

import pytest
import runs
import small


def assert_same(
    setting: dict[str, object], folder: Path, weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> list[str]:
    """A run in this setting makes the same bytes; the order in which its blocks were done."""
    done = zygote.run(small.tiny_region(folder, weights), setting=setting)
    assert done.code == 0, done.text
    assert runs.digest(folder / "out") == undisturbed.digest
    return runs.events(folder / "out")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_and_order_leave_no_trace(
    workers: int, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    orders = {
        tuple(assert_same({"workers": workers, "seed": seed}, tmp_path / str(seed), tiny_weights, zygote, undisturbed))
        for seed in (1, 2)
    }
    assert len(orders) == 2, "the blocks were done in different orders"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_worker_processes_and_order_leave_no_trace(
    workers: int, seed: int, tmp_path: Path, tiny_weights: Path, zygote: runs.Zygote, undisturbed: runs.Outcome
) -> None:
    setting = {"workers": workers, "seed": seed, "processes": True}
    order = assert_same(setting, tmp_path, tiny_weights, zygote, undisturbed)
    print(f"{workers} worker processes, order {seed} ({', '.join(order[:4])}, …): no byte differs")
