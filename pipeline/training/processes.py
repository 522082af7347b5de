"""One training on several devices, started by torchrun: who this process is, and the group it belongs to."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from pipeline.device import device_of

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
"""The environment variables by which torchrun tells a process who it is, with what they mean where it was not used."""


PATIENCE = timedelta(days=1)
"""How long processes wait for each other: while the first renders or validates, torch's half hour may be too short."""


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

    def device(self, wanted: str) -> torch.device:
        """The device that ``wanted`` (auto, cpu, cuda or cuda:N) means for this process.

        Raises:
            InputError: it is no device, or is not there.
        """
        return torch.device(device_of("device", wanted, self.local))

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            distributed.barrier()

    def mean(self, value: Tensor) -> Tensor:
        """The mean of all processes' values, so that all decide alike."""
        total = value.clone()  # the loss itself is still to be differentiated
        if self.count > 1:
            distributed.all_reduce(total)
        return total / self.count

    @torch.no_grad()
    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Give all processes the first one's values."""
        for value in tensors if self.count > 1 else ():
            sent = value.contiguous()  # channels-last tensors do not travel as they are
            distributed.broadcast(sent, 0)
            value.copy_(sent)


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that torchrun started (its environment variables say so), or this one alone.

    Raises:
        InputError: ``device`` is not there.
    """
    index, count, local = (int(os.environ.get(name, least)) for name, least in TORCHRUN.items())
    processes = Processes(index, count, local)
    own = processes.device(device)
    if count == 1:
        yield processes
        return
    if own.type == "cuda":
        torch.cuda.set_device(own)  # else NCCL's barriers all meet on the first GPU
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield processes
    finally:
        distributed.destroy_process_group()
