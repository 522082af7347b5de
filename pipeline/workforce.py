"""Who works for a run: how many processes with the network, how many hands beside them, and the memory of each."""

from pipeline import machine, nursery
from pipeline.config import Region
from pipeline.machine import GIB

# More memory than this per worker buys less than 2 % of the computed pixels of an Inria scene.
DEFAULT_MEMORY = 6 * GIB
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
        return (wanted or 1) * max(1, cluster.gpus or 0)
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
    if region.memory != "auto":
        return int(region.memory)
    return min(DEFAULT_MEMORY, int(0.6 * machine.memory()))
