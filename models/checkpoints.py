"""Loads and saves the tensors of weights files; ``models.weights`` reads what they say about themselves."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NoReturn

import safetensors.torch
import torch
from torch import Tensor, nn

from models import catalogue
from models.header import WeightsError, is_torch_file, open_weights, read_header, refuse
from models.recognise import OPTIONAL, canonical, recognise
from models.torchfiles import read_state
from models.weights import METADATA_KEY, Weights, from_header, from_shapes

State = dict[str, Tensor]


def load(path: str | Path, network: str | None = None) -> nn.Module:
    """The network in the weights file ``path``: fp32 parameters, eval mode, on the CPU.

    ``network`` is the catalogue name that the caller expects; None: whatever the file holds. Raises WeightsError.
    """
    weights, state = read(path)
    if network is not None and weights.network != network:
        refuse(
            weights.path, f"it seems to hold {weights.network}, but {network} was asked for; name the one that it holds"
        )
    return assemble(weights, state)


def read(path: str | Path) -> tuple[Weights, State]:
    """What the file says, and its tensors under our names; raises WeightsError."""
    path = Path(path)
    with open_weights(path) as file:
        header = None if is_torch_file(file) else read_header(file, path)
        file.seek(0)
        data = file.read()
    digest = hashlib.sha256(data).hexdigest()
    if header is None:
        state = canonical(read_state(data, path))
        return from_shapes(_shapes(state), path, digest), state
    return from_header(header, path, digest), canonical(safetensors.torch.load(data))


def assemble(weights: Weights, state: Mapping[str, Tensor]) -> nn.Module:
    """The network that ``weights`` describe, holding ``state``; raises WeightsError when they do not fit."""
    with torch.device("meta"):
        network = catalogue.build(weights.network, **weights.options)
    network.load_state_dict(_Fitting(weights, state).fitted(network), assign=True)
    return network.eval()


def save(network: nn.Module, path: str | Path, weights: Weights, *, half: bool = False) -> Weights:
    """Write ``network`` as safetensors with ``weights`` in the metadata, atomically; ``half`` stores fp16.

    Returns ``weights`` with path and digest filled in. Raises WeightsError when they do not describe the network, or
    when a value is not finite (in fp16).
    """
    weights = replace(weights, path=Path(path))
    state = {names[0]: tensor.cpu().contiguous() for names, tensor in _groups(network)}
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    assemble(weights, state)
    data = safetensors.torch.save(state, {METADATA_KEY: weights.to_json()})
    _write_whole(weights.path, data)
    return replace(weights, sha256=hashlib.sha256(data).hexdigest())


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _groups(network: nn.Module) -> list[tuple[list[str], Tensor]]:
    """Every tensor of ``network`` once, with all names that it goes by, in the order of the state dict."""
    tensors = network.state_dict(keep_vars=True)  # kept: otherwise each name would get a tensor object of its own
    names: dict[int, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        names[id(tensor)].append(name)
    return [(group, tensors[group[0]].detach()) for group in names.values()]


class _Fitting:
    """A file's tensors, taken out one by one as a network asks for them."""

    def __init__(self, weights: Weights, state: Mapping[str, Tensor]) -> None:
        self.weights = weights
        self.left = dict(state)
        self.shapes = _shapes(state)

    def fitted(self, network: nn.Module) -> State:
        """The tensors under exactly the names of ``network`` (on the meta device) and in its dtypes."""
        fitted: State = {}
        for names, wanted in _groups(network):
            fitted |= dict.fromkeys(names, self._take(names, wanted))
        if self.left:
            first = next(iter(self.left))[:80]
            self._misfit(f"it has {len(self.left)} tensors that {self.weights.network} lacks, first {first}")
        return fitted

    def _take(self, names: list[str], wanted: Tensor) -> Tensor:
        """The tensor that goes by ``names``; where a file has it more than once, all must be equal."""
        found = {name: self._checked(name, wanted) for name in names if name in self.left}
        if not found and not names[0].endswith(OPTIONAL):
            self._misfit(f"it lacks {names[0]} of {self.weights.network}")
        if not found:
            return torch.zeros(wanted.shape, dtype=wanted.dtype, device="cpu")
        first, *others = found.values()
        if not all(torch.equal(first, other) for other in others):
            refuse(self.weights.path, f"{' and '.join(found)} must be equal in {self.weights.network}, but differ")
        return first.contiguous()

    def _checked(self, name: str, wanted: Tensor) -> Tensor:
        """The tensor in the dtype that is ``wanted``, if it has that shape, that kind and finite values."""
        tensor = self.left.pop(name)
        if tensor.shape != wanted.shape:  # before its values are looked at: a view can pretend to be huge
            here, there = tuple(tensor.shape), tuple(wanted.shape)
            self._misfit(f"{name} has the shape {here}, but {there} in {self.weights.network}")
        if tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex():
            self._misfit(f"{name} is {tensor.dtype}, but {wanted.dtype} in {self.weights.network}")
        tensor = tensor.to(wanted.dtype)
        if not tensor.isfinite().all():
            refuse(self.weights.path, f"{name} has values that are not finite; use weights from before they diverged")
        return tensor

    def _misfit(self, what: str) -> NoReturn:
        """Raise WeightsError that says ``what`` and which network the file seems to be."""
        guess = recognise(self.shapes)
        options = ", ".join(f"{name} = {value}" for name, value in guess[1].items()) if guess else ""
        seems = f"those of {guess[0]} with {options}" if guess else "those of no network known here"
        raise WeightsError(f"{self.weights.path}: {what}; its tensors seem to be {seems}")


def _write_whole(path: Path, data: bytes) -> None:
    """``data`` at ``path``, whole or not at all: written aside, flushed to the disk, then renamed."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)  # temporary files are private, weights are not
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
