"""How large a tile may be, and what is said where not even the smallest fits: memory of worker, device and machine."""

from collections.abc import Callable
from math import ceil, floor, inf, isqrt

from pipeline import workforce
from pipeline.config import Region
from pipeline.engine import Engine, Taken
from pipeline.errors import InputError
from pipeline.machine import GIB, MIB
from pipeline.words import counted, size
from pipeline.workforce import Household
from tiling.grid import round_up

# What a hand has for itself, and beside that for each pixel of a block full of buildings (measured: 110 MiB and 17 B).
HAND = Taken(128 * MIB, 20)


def most(region: Region, engine: Engine) -> int:
    """Pixels of the largest tile that fits a worker's memory, its device, and all of them together the machine."""
    limits = [engine.on_host.pixels(workforce.memory(region))]
    if engine.most_pixels is not None:
        limits.append(engine.most_pixels)
    if engine.device_bytes is not None:
        limits.append(engine.on_device.pixels(engine.device_bytes))
    if region.memory == "auto":
        limits.append(_together(region, engine))
    return int(max(0, min(limits)))


def _together(region: Region, engine: Engine) -> float:
    """Pixels of the largest tile with which all processes of a machine, or of a batch job, fit in its memory."""
    household = Household.of(region)
    return inf if household is None else household.taken(engine.on_host, HAND).pixels(household.memory)


def too_little(region: Region, engine: Engine, least: int) -> str:
    """That not even a tile of ``least`` pixels fits, and where."""
    limit, needed = workforce.memory(region), engine.on_host.bytes(least)
    household, shared = Household.of(region), region.memory == "auto"
    if needed > limit:
        told = f"{limit / GIB:.2f} GiB is too little for one tile; at least {_gib(needed)} is needed"
        return f"memory: each worker's share of {told}{_cure(_relief(region))}" if shared else f"memory: {told}"
    if shared and household is not None and least > _together(region, engine):
        return _crowded("memory", region, household, household.taken(engine.on_host, HAND).bytes(least))
    free, needed = engine.device_bytes or 0, engine.on_device.bytes(least)
    return (
        f"inference.device: {engine.device} has {free / GIB:.2f} GiB free, {needed / GIB:.2f} GiB are needed for one "
        "tile; use another device, or cpu"
    )


def refuse_crowd(region: Region, engine: Engine, worker: int, hand: int) -> None:
    """Stop where a worker and a hand take so many bytes that all together do not fit in their machine or batch job.

    Raises:
        InputError: they do not; it names the largest ``tiles.size`` or ``memory`` with which they do.
    """
    household = Household.of(region)
    if household is None:
        return
    needed = household.taken(Taken(worker, 0), Taken(hand, 0)).bytes(0)
    if needed > household.memory:
        key, best = _nearest(region, engine)
        raise InputError(_crowded(key, region, household, needed, best))


def _nearest(region: Region, engine: Engine) -> tuple[str, str]:
    """Which key asks for too much, and its largest value that fits; none where it is not the key's fault."""
    pixels, facts = _together(region, engine), engine.facts
    side = isqrt(int(max(0, pixels))) // facts.stride * facts.stride
    if side <= round_up(facts.before, facts.stride) + round_up(facts.after, facts.stride):
        return "memory", ""
    if region.tiles.size != "auto":
        return "tiles.size", str(side)
    return "memory", "" if region.memory == "auto" else _gib(engine.on_host.bytes(pixels), floor)


def _crowded(key: str, region: Region, household: Household, needed: int, best: str = "") -> str:
    """That the processes of a household need more than it has, and what helps."""
    who = counted(household.workers, "worker") + (f" and {household.hands} beside" if household.hands else "")
    where = "a job" if region.cluster.kind == "slurm" else "this machine"
    cure = _cure(best and f"at most {best}", _relief(region))
    return f"{key}: {who} may need {size(needed)}, {where} has {size(household.memory)}{cure}"


def _relief(region: Region) -> str:
    """What leaves more memory to each worker; empty where nothing in the config does."""
    if region.cluster.kind == "slurm":
        return "more cluster.memory"
    return "fewer cluster.workers" if workforce.workers(region) > 1 else ""


def _cure(*ways: str) -> str:
    told = ", or ".join(filter(None, ways))
    return told and f"; give {told}"


def _gib(count: float, rounded: Callable[[float], float] = ceil) -> str:
    """Bytes as a config takes them, rounded to two digits."""
    return f"{rounded(count / GIB * 100) / 100:.2f}GiB"
