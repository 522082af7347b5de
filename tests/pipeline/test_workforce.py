"""Who works for a run."""

from pathlib import Path

import pytest

from pipeline import config, machine, workforce

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
    path = tmp_path / "region.yaml"
    path.write_text(f"name: any\nscenes: [a.tif]\ncluster: {cluster}\n")
    assert workforce.workers(config.load(path)) == workers


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
    path = tmp_path / "region.yaml"
    path.write_text(f"name: any\nscenes: [a.tif]\ncluster: {cluster}\n")
    assert workforce.hands(config.load(path)) == hands
