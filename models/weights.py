"""Weights files: what they say about themselves, read without torch; ``models.checkpoints`` loads and saves the tensors.

The form is safetensors (8 bytes of header length, a JSON header, the tensors): it holds numbers only, so nothing in it can
run. What we know of the weights is one JSON text in its metadata: one, because safetensors writes several in random order,
and equal weights should give equal files.
"""

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from models import catalogue
from models.recognise import recognise

METADATA_KEY = "seamless-footprints"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# ^ RGB / 255 over ImageNet's training set, what every TernausNet was trained with

MAX_FILE_BYTES = 512 << 20
# ^ the largest network of the catalogue has 141 MB in fp32; a checkpoint that also holds Adam's two moments, three times that
MAX_HEADER_BYTES = 1 << 20
# ^ 462 tensors (AlbuNet34) take 50 kB; the rest is for metadata
MAX_TENSORS = 4096
# ^ nine times AlbuNet34's
MAX_RANK = 4
# ^ convolution weights are the deepest arrays there are
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}
# ^ I64 is batch norm's num_batches_tracked; nothing else occurs


class WeightsError(ValueError):
    """A weights file that cannot be used; its text is one sentence: file, what is wrong, cure."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a weights file says about itself."""

    network: str
    """Its name in the catalogue."""
    options: Mapping[str, int] = field(default_factory=dict)
    """Channel counts that it was built with, e.g. filters, num_classes."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from RGB in 0..1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Divides what is left, > 0."""
    classes: tuple[str, ...] = ("building",)
    """Name of each output channel; a single one is a sigmoid's, several are a softmax's."""
    resolution: float | None = None
    """Ground metres per pixel that it was trained at; None: unknown."""
    threshold: float | None = None
    """Probability at which validation IoU is best, in 0..1; None: not calibrated."""
    reliability: tuple[tuple[float, float], ...] = ()
    """Calibration curve: (mean predicted probability, observed share of buildings) of each bin."""
    training_data: str = ""
    """What it was trained on, with licences."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Validation scores by name, e.g. ``iou/austin``."""
    data_sha256: str = ""
    """Digest of the list of training files."""
    path: Path = Path()
    """The file; empty before it is written."""
    sha256: str = ""
    """Digest of the whole file; empty before it is written."""

    def __post_init__(self) -> None:
        """Raises WeightsError for values outside their ranges."""
        problem = _problem(self)
        if problem:
            raise WeightsError(problem)

    @property
    def building(self) -> int:
        """Index of the output channel that means building (the last one, where no class is called so)."""
        return self.classes.index("building") if "building" in self.classes else len(self.classes) - 1

    def to_json(self) -> str:
        """The text kept in the file's metadata; where the file lies and its digest are no part of it."""
        values = {name: value for name, value in asdict(self).items() if name not in ("path", "sha256")}
        return json.dumps(values, sort_keys=True, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a safetensors header."""

    dtype: str
    """A key of DTYPE_BYTES."""
    shape: tuple[int, ...]
    """Sizes, each ≥ 1."""
    begin: int
    """First byte, counted from the end of the header."""
    end: int
    """One past its last byte."""


@dataclass(frozen=True, slots=True)
class Header:
    """A checked safetensors header: the tensors fill the file exactly."""

    tensors: Mapping[str, Tensor]
    """By name."""
    metadata: Mapping[str, str]
    """Free text by key."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor by name."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def describe(path: str | Path) -> Weights:
    """What the weights file ``path`` says, without reading its tensors and, for safetensors, without torch.

    A file without our metadata is recognised by its tensors' names and shapes, with ImageNet's normalisation and no threshold.
    Raises WeightsError.
    """
    path = Path(path)
    with open_weights(path) as file:
        if is_torch_file(file):
            from models.checkpoints import describe_torch  # noqa: PLC0415 - imports torch, which safetensors do not need

            return describe_torch(path)
        header = read_header(file, path)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return from_header(header, path, digest)


def from_header(header: Header, path: Path, sha256: str) -> Weights:
    """``header`` of the file ``path`` as Weights; raises WeightsError."""
    if METADATA_KEY in header.metadata:
        return _from_metadata(header.metadata[METADATA_KEY], path, sha256)
    return from_shapes(header.shapes, path, sha256)


def from_shapes(shapes: Mapping[str, tuple[int, ...]], path: Path, sha256: str) -> Weights:
    """Weights of the network that the tensors' names and shapes belong to; raises WeightsError."""
    guess = recognise(shapes)
    if guess is None:
        first = ", ".join(list(shapes)[:3]) or "none"
        refuse(path, f"its tensors ({first}, …) are those of no known network; name the network that they were trained with")
    network, options = guess
    classes = ("building",) if options.get("num_classes", 1) == 1 else tuple(map(str, range(options["num_classes"])))
    return _weights(path, network=network, options=options, classes=classes, path=path, sha256=sha256)


def open_weights(path: Path) -> BinaryIO:
    """``path`` opened for reading; raises WeightsError when it is no readable file or larger than MAX_FILE_BYTES."""
    if not path.is_file():
        refuse(path, "there is no such file" if not path.exists() else "it is not a file")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        refuse(path, f"it has {size:,} bytes, but weights have at most {MAX_FILE_BYTES:,}; save the network's state dict alone")
    try:
        return path.open("rb")
    except OSError as error:
        raise WeightsError(f"{path}: it cannot be read ({error.strerror})") from error


def is_torch_file(file: BinaryIO) -> bool:
    """Whether it begins as torch.save's files do: a zip archive or a pickle. Leaves ``file`` at its start."""
    start = file.read(4)
    file.seek(0)
    return start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")) and not _fits_header(file)


def _fits_header(file: BinaryIO) -> bool:
    """Whether it could be safetensors all the same: a brace follows the length. Leaves ``file`` at its start."""
    start = file.read(9)
    file.seek(0)
    return start[8:] == b"{"


def read_header(file: BinaryIO, path: Path) -> Header:
    """The header of the safetensors ``file``, every entry checked against the file's length; raises WeightsError."""
    size = path.stat().st_size
    prefix = file.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    if not 2 <= length <= MAX_HEADER_BYTES:
        refuse(path, f"it is no safetensors file: its header would have {length:,} bytes (2 to {MAX_HEADER_BYTES:,} are usual)")
    if 8 + length > size:
        refuse(path, f"it is truncated: its header ends at byte {8 + length:,} of {size:,}; copy it again")
    entries = _parse(file.read(length), path)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        refuse(path, "its __metadata__ does not map text to text")
    tensors = {name: _tensor(name, entry, path) for name, entry in entries.items()}
    _check_layout(tensors, size - 8 - length, path)
    return Header(tensors, metadata)


def refuse(path: Path, what: str) -> NoReturn:
    """Raise WeightsError about ``path``."""
    raise WeightsError(f"{path}: {what}")


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in ``raw``; raises WeightsError, for duplicate names too."""
    try:
        parsed = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: its header is damaged ({error}); copy the file again") from error
    if not isinstance(parsed, dict):
        refuse(path, "its header is not a JSON object")
    if len(parsed) > MAX_TENSORS:
        refuse(path, f"it lists {len(parsed):,} tensors; no network of the catalogue has more than {MAX_TENSORS:,}")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """``pairs`` as a dict; raises ValueError when a name occurs twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a name occurs twice")
    return made


def _no_constant(name: str) -> NoReturn:
    """JSON has no NaN and no Infinity, though Python reads them."""
    raise ValueError(f"{name} is no JSON")


def _tensor(name: str, entry: object, path: Path) -> Tensor:
    """One header entry, whose bytes must be as many as its dtype and shape need; raises WeightsError."""
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if len(entry) == 3:
            pass
        case _:
            refuse(path, f"the header's entry for {name[:80]!r} is malformed")
    if dtype not in DTYPE_BYTES:
        refuse(path, f"{name[:80]} has the dtype {dtype[:20]}; weights are {', '.join(DTYPE_BYTES)}")
    if len(shape) > MAX_RANK or not all(type(side) is int and side >= 1 for side in shape):
        refuse(path, f"{name[:80]} has the impossible shape {str(shape)[:80]}")
    if end - begin != DTYPE_BYTES[dtype] * math.prod(shape):
        refuse(path, f"{name[:80]} lies about its length: {dtype} of shape {tuple(shape)} are not {end - begin:,} bytes"[:300])
    return Tensor(dtype, tuple(shape), begin, end)


def _check_layout(tensors: Mapping[str, Tensor], available: int, path: Path) -> None:
    """Tensors must follow each other without gap or overlap and fill the file; raises WeightsError."""
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].begin):
        if tensor.begin != position:
            refuse(path, f"{name[:80]} begins at byte {tensor.begin:,} of the data instead of {position:,}: the header lies")
        position = tensor.end
    if position > available:
        refuse(path, f"it is truncated: {available:,} of {position:,} bytes of tensors are there; copy it again")
    if position < available:
        refuse(path, f"it has {available - position:,} bytes after the last tensor, so its header lies or it was overwritten")


def _from_metadata(text: str, path: Path, sha256: str) -> Weights:
    """Our metadata as Weights; unknown fields are refused."""
    values = _parse(text.encode(), path)
    unknown = set(values) - (set(Weights.__slots__) - {"path", "sha256"})
    if unknown or "network" not in values:
        refuse(path, f"its metadata have unknown or missing fields ({', '.join(sorted(unknown))[:80] or 'network'})")
    tuples = {name: _as_tuple(value) for name, value in values.items()}
    return _weights(path, **tuples, path=path, sha256=sha256)


def _as_tuple(value: Any) -> Any:
    """JSON lists, nested or not, as tuples."""
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _weights(about: Path, **values: Any) -> Weights:
    """Weights(**values); a problem with a value names the file ``about``."""
    try:
        return Weights(**values)
    except WeightsError as error:
        raise WeightsError(f"{about}: {error}") from None


def _problem(weights: Weights) -> str | None:
    """The first rule that ``weights`` break, as a sentence; None when they are sound."""
    return next(filter(None, (check(weights) for check in (_texts, _network, _normalisation, _outputs, _numbers))), None)


def _texts(weights: Weights) -> str | None:
    named = {name: getattr(weights, name) for name in ("network", "training_data", "data_sha256", "sha256")}
    wrong = [name for name, value in named.items() if not isinstance(value, str)]
    return f"{wrong[0]} must be text" if wrong else None


def _network(weights: Weights) -> str | None:
    if not isinstance(weights.options, Mapping):
        return "options must map names to numbers"
    try:
        catalogue.check_options(weights.network, weights.options)
    except ValueError as error:
        return str(error)[:300]
    return None


def _normalisation(weights: Weights) -> str | None:
    if not _are_numbers(weights.mean, 3) or not _are_numbers(weights.std, 3):
        return f"mean and std must be three finite numbers each, not {weights.mean!r:.80} and {weights.std!r:.80}"
    return None if min(weights.std) > 0 else f"std is {weights.std}; each must be greater than 0"


def _outputs(weights: Weights) -> str | None:
    count = weights.options.get("num_classes", 1)
    names = weights.classes
    if not isinstance(names, tuple) or len(names) != count or not all(isinstance(name, str) for name in names):
        return f"classes are {names!r:.80}, but the network has {count} output channel(s): name each"
    return None


def _numbers(weights: Weights) -> str | None:
    threshold, resolution = weights.threshold, weights.resolution
    if threshold is not None and not (_are_numbers((threshold,), 1) and 0 < threshold < 1):
        return f"threshold is {threshold!r:.80}; it must lie between 0 and 1"
    if resolution is not None and not (_are_numbers((resolution,), 1) and resolution > 0):
        return f"resolution is {resolution!r:.80} m per pixel; it must be greater than 0"
    if not isinstance(weights.scores, Mapping) or not _are_numbers(tuple(weights.scores.values())):
        return "scores must map names to finite numbers"
    if not isinstance(weights.reliability, tuple) or not all(_are_numbers(point, 2) for point in weights.reliability):
        return "reliability must be pairs of numbers: predicted, observed"
    return None


def _are_numbers(values: object, count: int | None = None) -> bool:
    """Whether ``values`` is a tuple (of ``count``) of finite numbers."""
    if not isinstance(values, tuple) or (count is not None and len(values) != count):
        return False
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
