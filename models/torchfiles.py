"""State dicts out of files of torch (``.pt``, ``.pth``), safely.

They are pickles, which could run anything. They go through ``torch.load(weights_only=True)`` alone, which runs nothing
but a short list of constructors, and what it refuses stays refused. torch >= 2.10 has the cures of CVE-2025-32434 and
CVE-2026-24747.
"""

import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.header import MAX_FILE_BYTES, MAX_HEADER_BYTES, WeightsError, refuse

WRAPPERS = ("model", "state_dict", "model_state_dict")
# ^ keys under which training scripts keep the state dict: the original TernausNet's, Lightning's, torch's tutorial's


def read_state(data: bytes, path: Path) -> dict[str, Tensor]:
    """The state dict in ``data``, the content of ``path``, taken out of its wrapper; raises WeightsError."""
    _check_archive(data, path)
    try:
        loaded = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or damaged stream can make the unpickler raise anything
        raise WeightsError(f"{path}: {_cause(error)}; save network.state_dict() alone") from error
    state = _unwrapped(loaded)
    if not isinstance(state, dict) or not state:
        refuse(path, "it holds no state dict; save network.state_dict()")
    if not all(isinstance(name, str) and _is_plain(value) for name, value in state.items()):
        refuse(path, "its state dict holds more than named dense tensors; save network.state_dict()")
    return {name: tensor.detach() for name, tensor in state.items()}


def _cause(error: Exception) -> str:
    """Why torch refused, in our words: its own advise to load the file the unsafe way."""
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    if wanted:
        return f"it holds Python objects ({wanted[1][:80]}), not tensors alone"
    return f"it is damaged, or no state dict ({type(error).__name__} while it was read)"


def _unwrapped(loaded: Any) -> Any:
    """The state dict inside what a training script saved with it (epoch, optimiser, …)."""
    inner = (loaded[key] for key in WRAPPERS if isinstance(loaded, dict) and isinstance(loaded.get(key), dict))
    return next(inner, loaded)


def _check_archive(data: bytes, path: Path) -> None:
    """Refuse a damaged zip archive, and one that unpacks to more than weights take: it would fill the memory."""
    if not data.startswith(b"PK"):
        return  # torch before 1.6 wrote no archives
    try:
        entries = zipfile.ZipFile(BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise WeightsError(f"{path}: it is a damaged or truncated file of torch ({error}); copy it again") from error
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_FILE_BYTES:
        refuse(path, f"it unpacks to {unpacked:,} bytes, but weights have at most {MAX_FILE_BYTES:,}")
    pickled = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
    if pickled > MAX_HEADER_BYTES:
        refuse(path, f"its pickle has {pickled:,} bytes, but a state dict's has at most {MAX_HEADER_BYTES:,}")


def _is_plain(value: object) -> bool:
    """Whether it is a dense tensor in the memory (no sparse, quantised, meta or foreign one)."""
    if not isinstance(value, Tensor):
        return False
    return value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
