"""Loads and saves the tensors of weights files; ``models.weights`` reads what they say about themselves."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import safetensors.torch
import torch
from torch import Tensor, nn

from models import catalogue
from models.fitting import State, fitted, named_once, shapes
from models.header import Header, is_torch_file, open_weights, read_header, refuse
from models.recognise import canonical
from models.torchfiles import read_state
from models.weights import METADATA_KEY, Weights, from_header, from_shapes


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
    header, state, digest = _read(path)
    if header is None:
        return from_shapes(shapes(state), path, digest), state
    return from_header(header, path, digest), state


def read_tensors(path: str | Path) -> State:
    """The tensors of ``path`` under our names, whatever they belong to; raises WeightsError."""
    return _read(Path(path))[1]


def assemble(weights: Weights, state: Mapping[str, Tensor]) -> nn.Module:
    """The network that ``weights`` describe, holding ``state``; raises WeightsError when they do not fit."""
    with torch.device("meta"):
        network = catalogue.build(weights.network, **weights.options)
    network.load_state_dict(fitted(network, weights.network, state, weights.path), assign=True)
    return network.eval()


def save(network: nn.Module, path: str | Path, weights: Weights, *, half: bool = False) -> Weights:
    """Write ``network`` as safetensors with ``weights`` in the metadata, atomically; ``half`` stores fp16.

    Returns ``weights`` with path and digest filled in. Raises WeightsError when they do not describe the network, or
    when a value is not finite (in fp16).
    """
    weights = replace(weights, path=Path(path))
    state = {names[0]: tensor.cpu().contiguous() for names, tensor in named_once(network)}
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    assemble(weights, state)
    data = safetensors.torch.save(state, {METADATA_KEY: weights.to_json()})
    _write_whole(weights.path, data)
    return replace(weights, sha256=hashlib.sha256(data).hexdigest())


def _read(path: Path) -> tuple[Header | None, State, str]:
    """The header of ``path`` (None for a file of torch, which has none), its tensors under our names, its digest."""
    with open_weights(path) as file:
        header = None if is_torch_file(file) else read_header(file, path)
        file.seek(0)
        data = file.read()
    state = read_state(data, path) if header is None else safetensors.torch.load(data)
    return header, canonical(state), hashlib.sha256(data).hexdigest()


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
