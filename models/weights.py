"""Weights files: what they say about themselves, read without torch; ``models.checkpoints`` loads and saves them.

The form is safetensors (8 bytes of header length, a JSON header, the tensors): it holds numbers only, so nothing in it
can run. What we know of the weights is one JSON text in its metadata: one, because safetensors writes several in random
order, and equal weights should give equal files.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models import catalogue
from models.header import Header, WeightsError, is_torch_file, open_weights, parse_object, read_header, refuse
from models.recognise import canonical, recognise

METADATA_KEY = "seamless-footprints"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# ^ RGB / 255 over ImageNet's training set, what every TernausNet was trained with
PAPER_THRESHOLD = 0.3
# ^ TernausNet's published one (arXiv:1801.05746, section III), for weights that carry no calibrated one

__all__ = ["Weights", "WeightsError", "describe"]


@dataclass(frozen=True, slots=True)
class Weights:
    """What a weights file says about itself."""

    network: str
    """Its name in the catalogue."""
    options: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Channel counts that it was built with, e.g. filters, num_classes."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from RGB in 0..1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Divides what is left, > 0."""
    classes: tuple[str, ...] = ("building",)
    """Name of each output channel: one of a sigmoid, or several of a softmax, the first of them background."""
    resolution: float | None = None
    """Ground metres per pixel that it was trained at; None: unknown."""
    threshold: float | None = None
    """Probability at which validation IoU is best, in 0..1; None: not calibrated."""
    reliability: tuple[tuple[float, float], ...] = ()
    """Calibration curve: (mean predicted probability, observed share of buildings) of each bin."""
    training_data: str = ""
    """What it was trained on, with licences."""
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)
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
    def building(self) -> int | None:
        """Which of several classes is called building; None: none is, and every class but the first counts as it."""
        several = len(self.classes) > 1
        return self.classes.index("building") if several and "building" in self.classes else None

    @property
    def operating_threshold(self) -> float:
        """Probability from which a pixel is building: the calibrated one, else the paper's."""
        return PAPER_THRESHOLD if self.threshold is None else self.threshold

    def to_json(self) -> str:
        """The text kept in the file's metadata; where the file lies and its digest are no part of it."""
        values = {name: value for name, value in asdict(self).items() if name not in ("path", "sha256")}
        return json.dumps(values, sort_keys=True, allow_nan=False)


def class_names(count: int) -> tuple[str, ...]:
    """Names of ``count`` output channels of which nothing else is known."""
    if count <= 2:
        return ("background", "building")[-count:]
    return ("background", *(f"class {index}" for index in range(1, count)))


def describe(path: str | Path) -> Weights:
    """What the weights file ``path`` says, without reading its tensors and, for safetensors, without torch.

    A file without our metadata is recognised by its tensors' names and shapes, with ImageNet's normalisation and no
    threshold. Raises WeightsError.
    """
    path = Path(path)
    with open_weights(path) as file:
        if is_torch_file(file):
            from models.checkpoints import read  # noqa: PLC0415 - imports torch, which safetensors do not need

            return read(path)[0]
        header = read_header(file, path)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return from_header(header, path, digest)


def from_header(header: Header, path: Path, sha256: str) -> Weights:
    """``header`` of the file ``path`` as Weights; raises WeightsError."""
    if METADATA_KEY in header.metadata:
        return _from_metadata(header.metadata[METADATA_KEY], path, sha256)
    return from_shapes(canonical(header.shapes), path, sha256)


def from_shapes(shapes: Mapping[str, tuple[int, ...]], path: Path, sha256: str) -> Weights:
    """Weights of the network that the tensors' names and shapes belong to; raises WeightsError."""
    guess = recognise(shapes)
    if guess is None:
        first = ", ".join(list(shapes)[:3]) or "none"
        refuse(path, f"its tensors ({first}, …) are those of no network known here ({', '.join(catalogue.CATALOGUE)})")
    network, options = guess
    if problem := _option_problem(network, options):
        refuse(path, problem)
    classes = class_names(options["num_classes"])
    return _weights(path, network=network, options=options, classes=classes, path=path, sha256=sha256)


def _from_metadata(text: str, path: Path, sha256: str) -> Weights:
    """Our metadata as Weights; unknown fields are refused."""
    values = parse_object(text.encode(), path, f"the text {METADATA_KEY} of its metadata")
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
    rules = (_texts, _network, _normalisation, _outputs, _numbers)
    return next(filter(None, (rule(weights) for rule in rules)), None)


def _texts(weights: Weights) -> str | None:
    named = {name: getattr(weights, name) for name in ("network", "training_data", "data_sha256", "sha256")}
    wrong = [name for name, value in named.items() if not isinstance(value, str)]
    return f"{wrong[0]} must be text" if wrong else None


def _network(weights: Weights) -> str | None:
    if not isinstance(weights.options, Mapping):
        return "options must map names to numbers"
    return _option_problem(weights.network, weights.options)


def _option_problem(network: str, options: Mapping[str, object]) -> str | None:
    try:
        catalogue.check_options(network, options)
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
