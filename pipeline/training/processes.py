"""One training on several devices, started by torchrun: who this process is, and the group it belongs to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes that train together, one per device."""

    index: int = 0
    """This one's, from 0; the first one validates, saves and tells."""
    count: int = 1
    """How many they are."""
    local: int = 0
    """This one's index on its machine: the number of its GPU."""

    @property
    def first(self) -> bool:
        """Whether this one speaks for all."""
        return self.index == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that torchrun started (its environment variables say so), or this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Processes(distributed.get_rank(), count, int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        distributed.destroy_process_group()


def device_of(wanted: str, processes: Processes) -> torch.device:
    """The device that ``wanted`` (auto, cpu, cuda or cuda:N) means for this process."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    return torch.device(wanted if ":" in wanted else f"cuda:{processes.local}")
