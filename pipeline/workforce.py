"""Who works for a run: how many processes with the network, how many hands beside them, and the memory of each."""

from dataclasses import dataclass

from pipeline import machine, nursery
from pipeline.config import Region
from pipeline.engine import PROCESS_BYTES, Taken
from pipeline.machine import GIB, MIB

# More memory than this per worker buys less than 2 % of the computed pixels of an Inria scene.
DEFAULT_MEMORY = 6 * GIB
# Share of a machine's memory for its workers; the rest is for the hands, the driver and whoever else is there.
SHARE = 0.6
# What starts the workers of a batch job (measured: 72 MiB).
JOB_BYTES = 128 * MIB
# Hands for each worker with a network, at most: outlines and footprints of a scene take one core a second or more, the
# network a GPU 0.1 to 0.25 s, and all cores of a machine without one many times that.
HANDS, HANDS_OF_GPU = 3, 8


def workers(region: Region) -> int:
    """Worker processes: one per GPU, or one for all cores of a machine, because the network is parallel inside."""
    cluster = region.cluster
    wanted = None if cluster.workers == "auto" else int(cluster.workers)
    if cluster.kind == "cuda":
        return cluster.gpus or wanted or machine.gpus()
    if cluster.kind == "slurm":
        return (wanted or 1) * _in_a_job(region)
    return wanted or (max(1, machine.gpus()) if cluster.kind == "local" and uses_gpus(region) else 1)


def hands(region: Region) -> int:
    """Further processes of this machine that do all but the network: as many as have a core for themselves."""
    if region.cluster.kind not in nursery.KINDS:
        return 0
    with_network, most = workers(region), HANDS_OF_GPU if uses_gpus(region) else HANDS
    return max(0, min(machine.cores() - with_network, most * with_network))


def uses_gpus(region: Region) -> bool:
    """Whether the workers of this machine share its GPUs, one each."""
    return region.inference.device in ("auto", "cuda") and machine.gpus() > 0


def memory(region: Region) -> int:
    """Bytes that one worker with the network may use."""
    return min(DEFAULT_MEMORY, _fair_share(region)) if region.memory == "auto" else int(region.memory)


def _fair_share(region: Region) -> int:
    """What a worker can have of its batch job's memory, or of this machine's; of others nothing is known."""
    cluster = region.cluster
    if cluster.kind == "slurm" and cluster.memory is not None:
        return max(0, cluster.memory - JOB_BYTES) // _in_a_job(region)
    sharing = max(1, workers(region)) if cluster.kind in nursery.KINDS else 1
    return int(SHARE * machine.memory() / sharing)


def job_memory(region: Region) -> int:
    """Bytes that a batch job asks for."""
    return region.cluster.memory or _in_a_job(region) * memory(region) + GIB


def _in_a_job(region: Region) -> int:
    """Workers of a batch job: one for each of its GPUs."""
    return max(1, region.cluster.gpus or 0)


@dataclass(frozen=True, slots=True)
class Household:
    """Processes that share one memory: a machine's, or a batch job's."""

    memory: int
    """How much that is, B."""
    workers: int
    """Processes with the network."""
    hands: int
    """Processes that do the rest."""
    head: int
    """What the process takes that they belong to, B."""

    @classmethod
    def of(cls, region: Region) -> "Household | None":
        """That of a run's workers; None where they are there already, on machines that are not known."""
        if region.cluster.kind == "slurm":
            return cls(job_memory(region), _in_a_job(region), 0, JOB_BYTES)
        if region.cluster.kind in nursery.KINDS:
            return cls(machine.memory(), max(1, workers(region)), hands(region), PROCESS_BYTES)
        return None

    def taken(self, worker: Taken, hand: Taken) -> Taken:
        """What all take together, when that is what each worker and each hand takes."""
        fixed = self.head + self.workers * worker.fixed + self.hands * hand.fixed
        return Taken(fixed, self.workers * worker.per_pixel + self.hands * hand.per_pixel)
