"""Loads and saves the tensors of weights files. Nothing in a file is ever executed.

Files of torch (``.pt``, ``.pth``) go through ``torch.load(weights_only=True)`` alone, without a fallback: what it refuses stays refused.
"""

import hashlib
import os
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile

import safetensors.torch
import torch
from torch import Tensor, nn

from models import catalogue
from models.recognise import OPTIONAL, prefix_of, rename
from models.weights import (
    MAX_FILE_BYTES,
    METADATA_KEY,
    Weights,
    WeightsError,
    from_header,
    from_shapes,
    is_torch_file,
    open_weights,
    read_header,
    refuse,
)

WRAPPERS = ("model", "state_dict", "model_state_dict")
# ^ keys under which training scripts keep the state dict: the original TernausNet's, Lightning's, torch's tutorial's

State = dict[str, Tensor]


def load(path: str | Path, network: str | None = None) -> nn.Module:
    """The network in the weights file ``path``: fp32 parameters, eval mode, on the CPU.

    ``network`` is the catalogue name that the caller expects; None: whatever the file holds. Raises WeightsError.
    """
    weights, state = read(path)
    if network is not None and weights.network != network:
        refuse(weights.path, f"it holds weights of {weights.network}, but {network} was asked for; name the one or give the other's file")
    return assemble(weights, state)


def read(path: str | Path) -> tuple[Weights, State]:
    """What the file says, and its tensors under the network's own names; raises WeightsError."""
    path = Path(path)
    with open_weights(path) as file:
        torch_file = is_torch_file(file)
        header = None if torch_file else read_header(file, path)
        file.seek(0)
        data = file.read()
    digest = hashlib.sha256(data).hexdigest()
    if header is None:
        state = _read_torch(data, path)
        return from_shapes(_shapes(state), path, digest), state
    weights = from_header(header, path, digest)
    return weights, _renamed(safetensors.torch.load(data))


def describe_torch(path: Path) -> Weights:
    """What can be told of a file of torch, which carries no metadata, from its tensors' shapes; raises WeightsError."""
    return read(path)[0]


def assemble(weights: Weights, state: Mapping[str, Tensor]) -> nn.Module:
    """The network that ``weights`` describe, holding ``state``; raises WeightsError when they do not fit."""
    with torch.device("meta"):
        network = catalogue.build(weights.network, **weights.options)
    network.load_state_dict(_fitted(network, dict(state), weights), assign=True)
    return network.requires_grad_().eval()


def save(network: nn.Module, path: str | Path, weights: Weights, *, half: bool = False) -> Weights:
    """Write ``network`` as safetensors with ``weights`` in the metadata, atomically; ``half`` stores fp16.

    Returns ``weights`` with path and digest filled in. Raises WeightsError when they do not describe the network, or when a
    value is not finite (in fp16).
    """
    path = Path(path)
    state = {names[0]: tensor for names, tensor in _groups(network)}
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    assemble(replace(weights, path=path), state)
    data = safetensors.torch.save(state, {METADATA_KEY: weights.to_json()})
    _write_whole(path, data)
    return replace(weights, path=path, sha256=hashlib.sha256(data).hexdigest())


def _read_torch(data: bytes, path: Path) -> State:
    """The state dict in a file of torch, unwrapped and under the network's own names; raises WeightsError."""
    _check_archive(data, path)
    try:
        loaded = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged stream can make the unpickler raise anything
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise WeightsError(f"{path}: it is no safe state dict ({first}); save network.state_dict() alone") from error
    wrapper = next((loaded[key] for key in WRAPPERS if isinstance(loaded, dict) and isinstance(loaded.get(key), dict)), loaded)
    if not isinstance(wrapper, dict) or not all(isinstance(name, str) for name in wrapper):
        refuse(path, "it holds no state dict; save network.state_dict()")
    if not all(_is_plain(value) for value in wrapper.values()):
        refuse(path, "its state dict holds more than dense tensors; save network.state_dict()")
    return _renamed(wrapper)


def _check_archive(data: bytes, path: Path) -> None:
    """Refuse a zip archive that unpacks to more than a weights file may have: torch would fill the memory with it."""
    if not data.startswith(b"PK"):
        return
    try:
        unpacked = sum(entry.file_size for entry in zipfile.ZipFile(BytesIO(data)).infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise WeightsError(f"{path}: it is a damaged or truncated file of torch ({error}); copy it again") from error
    if unpacked > MAX_FILE_BYTES:
        refuse(path, f"it unpacks to {unpacked:,} bytes, but weights have at most {MAX_FILE_BYTES:,}")


def _is_plain(value: object) -> bool:
    """Whether it is a dense tensor in the memory (no sparse, quantised, meta or foreign one)."""
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized


def _renamed(state: Mapping[str, Tensor]) -> State:
    """``state`` without a wrapper's prefix and under our names of the same tensors."""
    prefix = prefix_of(state)
    stripped = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {rename(name, stripped): tensor.detach() for name, tensor in stripped.items()}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _groups(network: nn.Module) -> list[tuple[list[str], Tensor]]:
    """Every tensor of ``network`` once, with all names that it goes by, in the order of the state dict."""
    names: dict[int, list[str]] = defaultdict(list)
    tensors = network.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        names[id(tensor)].append(name)
    return [(group, tensors[group[0]].detach().contiguous()) for group in names.values()]


def _fitted(network: nn.Module, state: State, weights: Weights) -> State:
    """``state`` in fp32 under exactly the names of ``network`` (on the meta device); raises WeightsError."""
    fitted: State = {}
    for names, wanted in _groups(network):
        found = [name for name in names if name in state]
        given = [state.pop(name) for name in found]
        tensor = given[0] if given else _default(names[0], wanted, weights)
        _check(names[0], tensor, wanted, weights)
        if not all(torch.equal(tensor, other) for other in given[1:]):
            refuse(weights.path, f"{' and '.join(found)} should be one tensor, but differ")
        fitted |= dict.fromkeys(names, tensor.to(wanted.dtype).contiguous())
    if state:
        refuse(weights.path, f"it has {len(state)} tensors that {weights.network} lacks, first {next(iter(state))[:80]}")
    return fitted


def _default(name: str, wanted: Tensor, weights: Weights) -> Tensor:
    """What stands in for a tensor that old files lack; raises WeightsError when nothing may."""
    if not name.endswith(OPTIONAL):
        refuse(weights.path, f"it lacks {name} of {weights.network}")
    return torch.zeros(wanted.shape, dtype=wanted.dtype, device="cpu")


def _check(name: str, tensor: Tensor, wanted: Tensor, weights: Weights) -> None:
    """Raise WeightsError unless ``tensor`` has the shape and kind that is ``wanted`` and finite values that fp32 can hold."""
    if tensor.shape != wanted.shape:
        refuse(weights.path, f"{name} has the shape {tuple(tensor.shape)}, but {tuple(wanted.shape)} in {weights.network}")
    if tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex():
        refuse(weights.path, f"{name} is {tensor.dtype}, but {wanted.dtype} in {weights.network}")
    if not tensor.to(wanted.dtype).isfinite().all():
        refuse(weights.path, f"{name} has values that are not finite: the training diverged or the file is damaged")


def _write_whole(path: Path, data: bytes) -> None:
    """``data`` at ``path``, whole or not at all: written aside, flushed to the disk, then renamed."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
