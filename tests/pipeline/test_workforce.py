"""Who works for a run."""

from pathlib import Path

import pytest

from pipeline import config, machine, workforce
from pipeline.config import Region
from pipeline.machine import GIB
from pipeline.workforce import JOB_BYTES


def region(folder: Path, keys: str) -> Region:
    """A region with some keys."""
    path = folder / "region.yaml"
    path.write_text(f"name: any\nscenes: [a.tif]\n{keys}\n")
    return config.load(path)


WORKERS = {
    "{}": 4,
    "{workers: 2}": 2,
    "{kind: cuda}": 4,
    "{kind: cuda, workers: 1}": 1,
    "{kind: cuda, gpus: 2}": 2,
    "{kind: slurm}": 1,
    "{kind: slurm, workers: 3}": 3,
    "{kind: slurm, gpus: 4, workers: 2}": 8,
    "{kind: address, address: 'tcp://a:1'}": 1,
}


@pytest.mark.parametrize(("cluster", "workers"), WORKERS.items())
def test_workers_by_cluster(cluster: str, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 4)
    assert workforce.workers(region(tmp_path, f"cluster: {cluster}")) == workers


MEMORY = {
    "cluster: {workers: 1}": 6 * GIB,
    "cluster: {workers: 2}": 4.8 * GIB,
    "cluster: {workers: 4}": 2.4 * GIB,
    "cluster: {kind: cuda}": 4.8 * GIB,
    "cluster: {workers: 4}\nmemory: 8GiB": 8 * GIB,
    "cluster: {kind: slurm, workers: 100}": 6 * GIB,
    "cluster: {kind: slurm, memory: 2GiB}": 2 * GIB - JOB_BYTES,
    "cluster: {kind: slurm, memory: 8GiB, gpus: 4}": 2 * GIB - JOB_BYTES // 4,
    "cluster: {kind: slurm, memory: 1MiB}": 0,
    "cluster: {kind: slurm, memory: 64GiB}": 6 * GIB,
    "cluster: {kind: address, address: 'tcp://a:1'}": 6 * GIB,
}


@pytest.mark.parametrize(("keys", "memory"), MEMORY.items())
def test_a_worker_has_its_share_of_the_machine_or_of_its_batch_job(
    keys: str, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 16 * GIB)
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    assert workforce.memory(region(tmp_path, keys)) == pytest.approx(memory, abs=1)


JOBS = {
    "cluster: {kind: slurm}": 7 * GIB,
    "cluster: {kind: slurm, gpus: 2, workers: 3}": 13 * GIB,
    "cluster: {kind: slurm, memory: 2GiB}": 2 * GIB,
    "cluster: {kind: slurm, gpus: 2}\nmemory: 2GiB": 5 * GIB,
}


@pytest.mark.parametrize(("keys", "memory"), JOBS.items())
def test_a_batch_job_asks_for_what_its_workers_may_use(
    keys: str, memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 16 * GIB)
    assert workforce.job_memory(region(tmp_path, keys)) == memory


HANDS = {
    "{workers: 1}": 3,
    "{workers: 4}": 8,
    "{workers: 16}": 0,
    "{kind: cuda, gpus: 2}": 10,
    "{kind: slurm, workers: 3}": 0,
    "{kind: address, address: 'tcp://a:1'}": 0,
}


@pytest.mark.parametrize(("cluster", "hands"), HANDS.items())
def test_hands_have_the_cores_that_are_left_on_this_machine(
    cluster: str, hands: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 12)
    monkeypatch.setattr(machine, "gpus", lambda: 2 * ("cuda" in cluster))
    assert workforce.hands(region(tmp_path, f"cluster: {cluster}")) == hands
