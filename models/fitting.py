"""Fits the tensors of a file to those of a network, by name, shape, kind and value."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from models.header import WeightsError, refuse
from models.recognise import OPTIONAL, recognise

State = dict[str, Tensor]


def fitted(network: nn.Module, name: str, state: Mapping[str, Tensor], path: Path) -> State:
    """``state``, read from ``path``, under exactly the names of ``network`` (called ``name``) and in its dtypes.

    Raises WeightsError when a tensor is missing, too many, of another shape or kind, or not finite.
    """
    return _Fitting(name, state, path).all(network)


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor by name."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def named_once(network: nn.Module) -> list[tuple[list[str], Tensor]]:
    """Every tensor of ``network`` once, with all names that it goes by, in the order of the state dict."""
    tensors = network.state_dict(keep_vars=True)  # kept: otherwise each name would get a tensor object of its own
    names: dict[int, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        names[id(tensor)].append(name)
    return [(group, tensors[group[0]].detach()) for group in names.values()]


class _Fitting:
    """A file's tensors, taken out one by one as a network asks for them."""

    def __init__(self, name: str, state: Mapping[str, Tensor], path: Path) -> None:
        self.name = name
        self.path = path
        self.left = dict(state)
        self.shapes = shapes(state)

    def all(self, network: nn.Module) -> State:
        """The tensors under every name of ``network``."""
        state: State = {}
        for names, wanted in named_once(network):
            state |= dict.fromkeys(names, self._take(names, wanted))
        if self.left:
            first = next(iter(self.left))[:80]
            self._misfit(f"it has {len(self.left)} tensors that {self.name} lacks, first {first}")
        return state

    def _take(self, names: list[str], wanted: Tensor) -> Tensor:
        """The tensor that goes by ``names``; where a file has it more than once, all must be equal."""
        found = {name: self._checked(name, wanted) for name in names if name in self.left}
        if not found and not names[0].endswith(OPTIONAL):
            self._misfit(f"it lacks {names[0]} of {self.name}")
        if not found:
            return torch.zeros(wanted.shape, dtype=wanted.dtype, device="cpu")
        first, *others = found.values()
        if not all(torch.equal(first, other) for other in others):
            refuse(self.path, f"{' and '.join(found)} must be equal in {self.name}, but differ")
        return first.contiguous()

    def _checked(self, name: str, wanted: Tensor) -> Tensor:
        """The tensor in the dtype that is ``wanted``, if it has that shape, that kind and finite values."""
        tensor = self.left.pop(name)
        if tensor.shape != wanted.shape:  # before its values are looked at: a view can pretend to be huge
            here, there = tuple(tensor.shape), tuple(wanted.shape)
            self._misfit(f"{name} has the shape {here}, but {there} in {self.name}")
        if tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex():
            self._misfit(f"{name} is {tensor.dtype}, but {wanted.dtype} in {self.name}")
        tensor = tensor.to(wanted.dtype)
        if not tensor.isfinite().all():
            refuse(self.path, f"{name} has values that are not finite; use weights from before they diverged")
        return tensor

    def _misfit(self, what: str) -> NoReturn:
        """Raise WeightsError that says ``what`` and which network the file seems to be."""
        guess = recognise(self.shapes)
        options = ", ".join(f"{name} = {value}" for name, value in guess[1].items()) if guess else ""
        seems = f"those of {guess[0]} with {options}" if guess else "those of no network known here"
        raise WeightsError(f"{self.path}: {what}; its tensors seem to be {seems}")
