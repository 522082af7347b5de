"""A real Slurm on loopback: two workers as jobs, one cancelled in the middle; a batch script that requeues itself."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import runs
import small

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
CONFIG = """
ClusterName=tiny
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=100000 State=UNKNOWN
PartitionName=tiny Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands reach a Slurm of our own."""
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"Slurm is not here ({', '.join(missing)}), or this is not root")
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    config = CONFIG.format(host=socket.gethostname().split(".")[0], ports=free_ports(2), folder=folder)
    (folder / "slurm.conf").write_text(config)
    environment = {**os.environ, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = [
        f"--{name}={folder}/munge.{name.split('-')[0]}" for name in ("key-file", "log-file", "pid-file", "seed-file")
    ]
    daemons = [
        ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        ["slurmctld", "-D", "-i"],
        ["slurmd", "-D"],
    ]
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for daemon in daemons:
            output = (folder / f"{daemon[0]}.out").open("wb")
            processes.append(subprocess.Popen(daemon, env=environment, stdout=output, stderr=subprocess.STDOUT))
            output.close()
            time.sleep(1)
        wait_for(lambda: "idle" in told(environment, "sinfo", "-h", "-o", "%T"), 30, partial(logs, folder))
        yield environment
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=30)


def told(environment: dict[str, str], *command: str) -> str:
    """What a command says."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout.strip()


def logs(folder: Path) -> str:
    """The ends of the daemons' logs."""
    return "\n".join(
        f"{path.name}: {path.read_text()[-1500:]}" for path in [*folder.glob("*.out"), *folder.glob("*.log")]
    )


def wait_for(ready: object, seconds: float, otherwise: object) -> None:
    """Wait until something holds."""
    assert callable(ready)
    assert callable(otherwise)
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.1)


def test_jobs_work_one_is_cancelled_and_the_run_resumed(
    tmp_path: Path, tiny_weights: Path, slurm: dict[str, str], undisturbed: runs.Outcome
) -> None:
    cluster = {"kind": "slurm", "workers": 2, "cores": 2, "memory": "2GiB", "queue": "tiny", "walltime": "00:10:00"}
    region, output = small.tiny_region(tmp_path, tiny_weights, cluster=cluster), tmp_path / "out"
    slurm = {**slurm, "PYTHONPATH": str(runs.PROJECT), "DASK_JOBQUEUE__SLURM__INTERFACE": "lo"}
    run = runs.start(region, **slurm)
    runs.wait_until(lambda: len(runs.journalled(output)) >= 2, run, 200)
    jobs = told(slurm, "squeue", "-h", "-o", "%A").split()
    assert jobs
    told(slurm, "scancel", jobs[0])
    _, said = run.communicate(timeout=250)
    assert run.returncode == 0, said
    assert runs.digest(output) == undisturbed.digest
    wait_for(lambda: told(slurm, "squeue", "-h") == "", 60, lambda: "jobs stay behind")


def test_a_job_that_slurm_does_not_take_ends_the_run_with_a_sentence(
    tmp_path: Path, tiny_weights: Path, slurm: dict[str, str]
) -> None:
    region = small.tiny_region(tmp_path, tiny_weights, cluster={"kind": "slurm", "queue": "nowhere"})
    refused = runs.start(region, **{**slurm, "PYTHONPATH": str(runs.PROJECT), "DASK_JOBQUEUE__SLURM__INTERFACE": "lo"})
    _, said = refused.communicate(timeout=60)
    assert refused.returncode == 2, said
    assert "Slurm does not take a job: sbatch: error: Batch job submission failed: Invalid partition" in said
    assert "Traceback" not in said


def test_where_slurm_is_not_that_is_said(tmp_path: Path, tiny_weights: Path) -> None:
    region = small.tiny_region(tmp_path, tiny_weights, cluster={"kind": "slurm"})
    refused = runs.start(region, PATH=str(tmp_path), DASK_JOBQUEUE__SLURM__INTERFACE="lo")
    _, said = refused.communicate(timeout=60)
    assert refused.returncode == 2, said
    assert "Slurm does not take a job: [Errno 2] No such file or directory: 'sbatch'" in said
    assert "Traceback" not in said


SLOW = """
import os, sys, time

def hook(event, arguments):
    if event == "os.rename" and "/probability/c/" in str(arguments[1]):
        time.sleep(12)
        with open({tally!r}, "a") as file:
            print("/".join(str(arguments[1]).rsplit("/", 2)[1:]), os.getpid(), file=file)

sys.addaudithook(hook)
"""
"""Makes a worker take its time before it stores a block, and tell of it."""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_jobs_that_come_to_their_walltime_are_replaced_and_no_block_is_computed_twice(
    tmp_path: Path, tiny_weights: Path, slurm: dict[str, str], undisturbed_fine: runs.Outcome
) -> None:
    tally = tmp_path / "tally"
    (tmp_path / "sitecustomize.py").write_text(SLOW.format(tally=str(tally)))
    prologue = [f"export PYTHONPATH={tmp_path}:{runs.PROJECT}"]
    cluster = {"kind": "slurm", "cores": 2, "queue": "tiny", "walltime": "00:02:00", "prologue": prologue}
    region = small.tiny_region(tmp_path, tiny_weights, cluster=cluster, **small.FINE)
    slurm = {**slurm, "PYTHONPATH": str(runs.PROJECT), "DASK_JOBQUEUE__SLURM__INTERFACE": "lo"}
    done = runs.finish(region, seconds=480, **slurm)
    assert done.returncode == 0, done.stderr
    assert runs.digest(tmp_path / "out") == undisturbed_fine.digest
    stored = [line.split() for line in tally.read_text().splitlines()]
    assert sorted(block for block, _ in stored) == sorted({block for block, _ in stored})
    assert len({process for _, process in stored}) > 1, "the blocks of one job fit into it"


def test_a_batch_job_requeues_itself_and_finishes(
    tmp_path: Path, tiny_weights: Path, slurm: dict[str, str], undisturbed: runs.Outcome
) -> None:
    region, output = small.tiny_region(tmp_path, tiny_weights), tmp_path / "out"
    path = f"{Path(sys.executable).parent}:{slurm['PATH']}"
    slurm = {**slurm, "PATH": path, "PYTHONPATH": str(runs.PROJECT)}
    script, log = runs.PROJECT / "configs/slurm.sbatch", tmp_path / "job.log"
    options = ("--parsable", "--mem=0", "-o", str(log), "-D", str(tmp_path))
    job = told(slurm, "sbatch", *options, str(script), str(region))
    wait_for(lambda: len(runs.journalled(output)) >= 2, 200, lambda: log.read_text() if log.exists() else "no log")
    told(slurm, "scancel", "--batch", "--signal=TERM", job)
    wait_for(lambda: "PENDING" in told(slurm, "squeue", "-h", "-o", "%T", "-j", job), 40, log.read_text)
    assert len(runs.journalled(output)) < small.TINY_BLOCKS
    assert "it resumes" in log.read_text()
    time.sleep(5)  # a node refuses a job's second start within seconds of its first end
    told(slurm, "scontrol", "update", f"JobId={job}", "StartTime=now")  # Slurm lets requeued jobs rest for two minutes
    wait_for((output / "run.json").exists, 200, lambda: log.read_text() + told(slurm, "scontrol", "show", "job", job))
    assert runs.digest(output) == undisturbed.digest
    assert runs.report(output)["resumed_blocks"] >= 2
