"""What this machine has, seen from inside a container or a batch job."""

from pathlib import Path

import psutil
import pytest

from pipeline import machine


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Control groups, and this process in one of a job."""
    (tmp_path / "own").write_text("1:name=systemd:/else\n0::/slurm/job_7/step_0\n")
    (tmp_path / "groups/slurm/job_7/step_0").mkdir(parents=True)
    monkeypatch.setattr(machine, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "groups")
    return tmp_path / "groups"


@pytest.mark.parametrize("group", ["", "slurm", "slurm/job_7", "slurm/job_7/step_0"])
def test_the_memory_is_that_of_the_job(group: str, groups: Path) -> None:
    for each in ("slurm", "slurm/job_7"):
        (groups / each / "memory.max").write_text("max\n")
    (groups / group / "memory.max").write_text(f"{300 << 20}\n")
    assert machine.memory() == 300 << 20


@pytest.mark.parametrize("group", ["", "slurm/job_7"])
def test_the_cores_are_those_of_the_job(group: str, groups: Path) -> None:
    (groups / "slurm/cpu.max").write_text("max 100000\n")
    (groups / group / "cpu.max").write_text("150000 100000\n")
    assert machine.cores() == 1


def test_what_no_group_limits_is_the_machine_s(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.memory() == psutil.virtual_memory().total
    monkeypatch.setattr(machine, "OWN_CGROUP", groups / "missing")
    assert machine.memory() == psutil.virtual_memory().total
    assert machine.cores() >= 1
