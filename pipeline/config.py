"""The schema of region.yaml: one frozen value, checked whole, every problem told at once with its line and column.

Descriptions below are the reference documentation and the JSON schema (``configs/region.schema.json``).
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

import models
from models.catalogue import CATALOGUE
from pipeline import yamlnodes
from pipeline.errors import InputError
from pipeline.yamlnodes import Document, Key, Scalar, dotted
from tiling.grid import round_up

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{prefix}i{end}": 1 << 10 * (power + 1) for power, prefix in enumerate("KMGT") for end in ("B", "")
}


def _is_auto(value: object) -> str:
    return "auto" if value == "auto" else "value"


def _absolute(value: object) -> object:
    """A path, made absolute by the folder of the file that it was written in."""
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise PydanticCustomError("path", "is not a path; write one, relative to this file or absolute")
    base = value.base if isinstance(value, Scalar) else Path()
    return Path(str(base / value))


def _source(value: object) -> object:
    """A scene: a path or glob made absolute; what looks like a URL is left for the survey to judge."""
    if not isinstance(value, str) or is_remote(value):
        return value
    return str(_absolute(value))


def is_remote(scene: str) -> bool:
    """Whether a scene names another place than a local file: a URL, or one of GDAL's virtual file systems."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/|/vsi", scene) is not None


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([A-Za-z]{0,3})", value.strip())
    unit = match and next((size for name, size in UNITS.items() if name.lower() == match[2].lower()), None)
    if not match or not unit:
        raise PydanticCustomError(
            "bytes", "{value} is not a size; write e.g. 8GiB or 500MB", {"value": repr(str(value))}
        )
    return int(float(match[1]) * unit)


def _known_network(name: str) -> str:
    if name not in CATALOGUE:
        raise PydanticCustomError("network", "{sentence}", {"sentence": _no_choice(name, list(CATALOGUE))})
    return name


def _matching(pattern: str, sentence: str) -> AfterValidator:
    """A check of text against ``pattern``, which says ``sentence`` when it fails."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise PydanticCustomError("pattern", "{text} {sentence}", {"text": repr(text), "sentence": sentence})
        return text

    return AfterValidator(check)


T = TypeVar("T")
Auto = Annotated[Annotated[Literal["auto"], Tag("auto")] | Annotated[T, Tag("value")], Discriminator(_is_auto)]
FilePath = Annotated[Path, BeforeValidator(_absolute)]
Source = Annotated[str, BeforeValidator(_source)]
Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=1 << 20),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["8GiB", "500MB"]}),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[
    str,
    Field(max_length=100),
    _matching(r"\w[\w .-]*(?<![ .])", "is not a name; use letters, digits, '-', '_', '.' and spaces"),
]
Host = Annotated[
    str, _matching(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", "is not a host name; write e.g. data.example.org")
]
Device = Annotated[str, _matching(r"auto|cpu|cuda(:\d{1,3})?", "is not a device; use auto, cpu, cuda or cuda:N")]
Walltime = Annotated[
    str, _matching(r"(\d{1,3}-)?\d{1,3}:[0-5]\d:[0-5]\d", "is not a walltime; write HH:MM:SS or D-HH:MM:SS")
]
OneLine = Annotated[str, _matching(r"[^\r\n\0]*", "must be one line")]
Network = Annotated[str, AfterValidator(_known_network), WithJsonSchema({"type": "string", "enum": list(CATALOGUE)})]


class Section(BaseModel):
    """A mapping of the YAML file: frozen, and it knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Pixels(Section):
    """How pixels become red, green and blue from 0 to 255, and which of them hold no data."""

    bands: Annotated[tuple[int, int, int], Field(description="1-based numbers of the red, green and blue bands.")] = (
        1,
        2,
        3,
    )
    scale: Auto[tuple[Finite, Finite]] = "auto"
    """[low, high] of the input that becomes 0..255 (linear, clipped); required for input that is not uint8."""
    nodata: Auto[float] = "auto"
    """Value of pixels without data (all three bands equal it); auto: the file's own nodata tag, mask or alpha band."""

    @field_validator("bands")
    @classmethod
    def _from_one(cls, bands: tuple[int, int, int]) -> tuple[int, int, int]:
        if not all(1 <= band <= 65535 for band in bands):
            raise PydanticCustomError(
                "bands", "{bands} are not band numbers; they count from 1", {"bands": str(list(bands))}
            )
        return bands

    @field_validator("scale")
    @classmethod
    def _ascending(cls, scale: Any) -> Any:
        if scale != "auto" and not scale[0] < scale[1]:
            raise PydanticCustomError(
                "scale", "[{low}, {high}] does not ascend; write [low, high]", {"low": scale[0], "high": scale[1]}
            )
        return scale


class GridOptions(Section):
    """The pixel grid of the mosaic."""

    crs: Auto[str] = "auto"
    """Coordinate reference system, e.g. EPSG:32633; auto: the scenes' own, which must agree."""
    resolution: Auto[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = "auto"
    """Ground metres per pixel, to which scenes are resampled; auto: the scenes' own."""
    resample: bool = False
    """true: scenes that do not share one pixel grid are resampled onto the first one's."""


def shipped_weights(name: str) -> Path:
    """Where the project keeps its own weights of a network."""
    return Path(models.__file__).parent / "weights" / f"{name}.safetensors"


class ModelOptions(Section):
    """The network and its weights."""

    name: Network = "ternausnet11"
    """The network."""
    weights: FilePath = Field(default_factory=lambda known: shipped_weights(known["name"]))
    """A safetensors file; default: the weights that come with the project."""


class Tiles(Section):
    """What the network sees at a time."""

    size: Auto[Annotated[int, Field(ge=1, le=1 << 20)]] = "auto"
    """Side of a tile in px, a multiple of the model's stride; auto: the best fit for the memory."""
    halo: Auto[Annotated[int, Field(ge=0, le=1 << 16)]] = "auto"
    """Context on each side of a block in px, rounded up to the model's stride; auto: the network's reach, which makes tiling seamless."""


class Inference(Section):
    """How the network is run."""

    device: Device = "auto"
    """auto, cpu, cuda or cuda:N; auto: CUDA when there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Floating-point format of the network; auto: the fastest that holds."""
    tta: Literal["none", "d4"] = "none"
    """Test-time augmentation; d4: the mean over the 8 flips and rotations (8 times the work)."""


class FootprintOptions(Section):
    """From probabilities to outlines."""

    threshold: Auto[Annotated[float, Field(gt=0, lt=1)]] = "auto"
    """Probability from which a pixel is building; auto: the weights' calibrated one, else 0.3."""
    min_area: Length = 10.0
    """Smallest footprint, m² on the ground."""
    min_hole: Length = 5.0
    """Smallest courtyard, m²; smaller ones are filled."""
    simplify: Length = 0.3
    """Tolerance of simplification, m; 0: none."""
    square: bool = False
    """true: right-angled outlines."""
    split: bool = False
    """true: buildings that touch are separated where the probability has a clear valley."""
    formats: Annotated[tuple[Literal["gpkg", "parquet", "flatgeobuf", "geojson"], ...], Field(min_length=1)] = ("gpkg",)
    """Files that are written: gpkg, parquet, flatgeobuf, geojson."""

    @field_validator("formats")
    @classmethod
    def _once(cls, formats: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(formats))


class ProbabilityOptions(Section):
    """Further forms of the probabilities, beside probability.zarr."""

    cog: bool = False
    """true: also a Cloud-Optimised GeoTIFF, probability.tif."""
    masks: bool = False
    """true: also one 0/255 GeoTIFF per scene, named as the scene (the form of the Inria contest)."""


CLUSTER_KEYS = {
    "queue": ("slurm",),
    "account": ("slurm",),
    "walltime": ("slurm",),
    "memory": ("slurm",),
    "cores": ("slurm",),
    "gpus": ("slurm", "cuda"),
    "prologue": ("slurm",),
    "directives": ("slurm",),
    "address": ("address",),
    "tls_ca": ("address",),
    "tls_cert": ("address",),
    "tls_key": ("address",),
}


class Cluster(Section):
    """Where the work is done."""

    kind: Literal["local", "cuda", "slurm", "address"] = "local"
    """local: this machine; cuda: one worker per GPU of this machine; slurm: batch jobs; address: a running Dask scheduler."""
    workers: Auto[Annotated[int, Field(ge=1, le=100_000)]] = "auto"
    """Number of workers; auto: what fits the machine (local, cuda), 1 job (slurm), those that are there (address)."""
    gpus: Annotated[int, Field(ge=0, le=64)] | None = None
    """GPUs per job (slurm), or how many of this machine's are used (cuda; default: all visible ones)."""
    queue: OneLine | None = None
    """Slurm partition."""
    account: OneLine | None = None
    """Slurm account that is charged."""
    walltime: Walltime = "01:00:00"
    """Time limit of a job, HH:MM:SS or D-HH:MM:SS; workers leave before it."""
    memory: Bytes | None = None
    """Memory of a job, e.g. 32GiB; default: what the plan needs."""
    cores: Annotated[int, Field(ge=1, le=1024)] = 4
    """CPU cores of a job."""
    prologue: tuple[OneLine, ...] = ()
    """Lines of the job script before the worker starts, e.g. module load cuda."""
    directives: tuple[OneLine, ...] = ()
    """Further #SBATCH directives, e.g. --constraint=a100."""
    address: OneLine | None = None
    """Address of the scheduler, e.g. tls://10.0.0.5:8786; required for kind address."""
    tls_ca: FilePath | None = None
    """Certificate authority that signs scheduler and workers (PEM)."""
    tls_cert: FilePath | None = None
    """Certificate of this client (PEM)."""
    tls_key: FilePath | None = None
    """Private key of this client (PEM); never logged, nor copied."""

    @model_validator(mode="after")
    def _belongs(self) -> "Cluster":
        for key in sorted(self.model_fields_set & CLUSTER_KEYS.keys()):
            if self.kind not in CLUSTER_KEYS[key]:
                raise _at(key, f"belongs to cluster.kind {' or '.join(CLUSTER_KEYS[key])}, not {self.kind}; remove it")
        if self.kind == "address" and self.address is None:
            raise _at("address", "is missing; cluster.kind address needs it, e.g. address: tls://10.0.0.5:8786")
        return self


class Region(Section):
    """One region: which scenes, which network, what comes out."""

    name: Name = Field(examples=["banepa"])
    """Names the region in its outputs."""
    scenes: Annotated[tuple[Source, ...], Field(min_length=1)] = Field(examples=["[scenes/*.tif]"])
    """GeoTIFF files, folders of them, or globs; they form one mosaic. Where scenes overlap, the first one listed wins."""
    output: FilePath = Field(default=None, validate_default=False, json_schema_extra={"default": "out/<name>"})  # type: ignore[assignment]
    """Folder of the outputs; default: out/<name>."""
    area: FilePath | None = None
    """Vector file with polygons, any CRS that it declares; only what lies inside is processed."""
    remote: tuple[Host, ...] = ()
    """Hosts that scenes may be read from over https; none by default."""
    licence: str | None = Field(default=None, max_length=10_000)
    """Licence or attribution text that goes into the metadata of the footprints."""
    pixels: Pixels = Pixels()
    grid: GridOptions = GridOptions()
    model: ModelOptions = ModelOptions()
    tiles: Tiles = Tiles()
    inference: Inference = Inference()
    footprints: FootprintOptions = FootprintOptions()
    probability: ProbabilityOptions = ProbabilityOptions()
    cluster: Cluster = Cluster()
    memory: Auto[Bytes] = "auto"
    """Memory limit of one worker in bytes, e.g. 8GiB; auto: a fair share of the machine."""
    on_error: Literal["report", "stop"] = "report"
    """When a block fails; report: finish the rest, list the failed blocks, exit 3; stop: stop at once."""

    @model_validator(mode="before")
    @classmethod
    def _default_output(cls, data: Any) -> Any:
        if isinstance(data, dict) and "output" not in data and isinstance(data.get("name"), Scalar):
            return {**data, "output": Scalar.of(f"out/{data['name']}", data["name"].base)}
        return data

    @field_validator("tiles")
    @classmethod
    def _on_stride(cls, tiles: Tiles, info: ValidationInfo) -> Tiles:
        if "model" in info.data and tiles.size != "auto":
            _check_size(tiles.size, tiles.halo, info.data["model"].name)
        return tiles


def _check_size(size: int, halo: int | Literal["auto"], name: str) -> None:
    """A tile's side must be a multiple of the network's stride, and leave something of the tile inside its halo."""
    network = CATALOGUE[name]
    stride = network.stride
    before, after = (network.before, network.after) if halo == "auto" else (halo, halo)
    least = round_up(before, stride) + round_up(after, stride) + stride
    if size % stride:
        low = size // stride * stride
        nearest = " and ".join(str(n) for n in (low, low + stride) if n)
        raise _at("size", f"{size} is not a multiple of {stride}; nearest are {nearest}")
    if size < least:
        raise _at("size", f"{size} leaves nothing inside a halo of {before} + {after} px; the least is {least}")


def load(path: Path, overrides: Sequence[str] = ()) -> Region:
    """The region that a YAML file describes; ``overrides`` are ``key.path=value``, with paths relative to the working directory.

    Raises:
        InputError: every problem of the file and the overrides, each with place, key, value, rule and cure.
    """
    return load_model(path, overrides, Region)


M = TypeVar("M", bound=BaseModel)


def load_model(path: Path, overrides: Sequence[str], model: type[M]) -> M:
    """A YAML file as ``model``; otherwise as ``load``."""
    document = yamlnodes.read(Path(path))
    if document.root is None:
        document.root = {}
    problems = yamlnodes.override(document, overrides, Path.cwd())
    if not isinstance(document.root, dict):
        raise InputError(f"{document.place(())}: {path.name} must hold keys, e.g. name: banepa", *problems)
    document.root = _without_empty_sections(document.root, model)
    try:
        result = model.model_validate(document.root)
    except ValidationError as error:
        problems += _sentences(document, model, error)
    if document.problems or problems:
        raise InputError(*document.problems, *problems)
    return result


def _without_empty_sections(root: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """A section with nothing under it, or all of it in comments, means its defaults."""
    return {key: value for key, value in root.items() if value is not None or not _is_section(model, key)}


def _is_section(model: type[BaseModel], key: str) -> bool:
    kind = model.model_fields[key].annotation if key in model.model_fields else None
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _at(key: str, sentence: str) -> PydanticCustomError:
    """An error of the value ``key`` inside the section that is being checked."""
    return PydanticCustomError("at", "{sentence}", {"key": key, "sentence": sentence})


def _sentences(document: Document, model: type[BaseModel], error: ValidationError) -> list[str]:
    details = [
        d for d in error.errors(include_url=False) if d["type"] != "default_factory_not_called"
    ]  # follows another
    told = [_sentence(document, model, detail) for detail in details]
    return [sentence for _, sentence in sorted(told)]


def _sentence(document: Document, model: type[BaseModel], error: ErrorDetails) -> tuple[tuple[int, int], str]:
    """An error of pydantic as our sentence, and its place to sort by."""
    path = _written(error["loc"])
    if error["type"] == "at":
        path = (*path, error["ctx"]["key"])
    if error["type"] == "extra_forbidden":
        place, text = document.keys[path], _unknown(model, path)
    else:
        place, text = document.place(path), SENTENCES.get(error["type"], _pydantic)(error)
    name = dotted(path)
    return (place.line, place.column), f"{place} {name}: {text}"


def _written(loc: tuple[str | int, ...]) -> Key:
    """The path as written in the file: without the tags of unions."""
    return tuple(part for part in loc if part not in ("auto", "value"))


def _unknown(model: type[BaseModel], path: Key) -> str:
    """What an unknown key was probably meant to be: its nearest sibling, else the same word in another section."""
    known = {dotted(key): key for key in _keys(model)}
    siblings = {str(key[-1]): text for text, key in known.items() if key[:-1] == path[:-1]}
    word = str(path[-1])
    near = get_close_matches(word, siblings, 1) or [text for text in known if text.split(".")[-1] == word]
    near = near or get_close_matches(word, siblings, 1, 0.0)
    return f"unknown key; did you mean {siblings.get(near[0], near[0])}?" if near else "unknown key; remove it"


def _keys(model: type[BaseModel], path: Key = ()) -> list[Key]:
    found: list[Key] = []
    for name, info in model.model_fields.items():
        found.append((*path, name))
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found += _keys(info.annotation, (*path, name))
    return found


def _shown(value: object) -> str:
    """A value as it is repeated to the user: short, on one line."""
    text = {dict: "a section", list: "a list"}.get(type(value)) or ("empty" if value is None else repr(str(value)))
    return text if len(text) <= 60 else text[:57] + "…'"


def _no_choice(value: object, choices: Sequence[str]) -> str:
    near = get_close_matches(str(value), choices, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{_shown(value)} is not one of {', '.join(choices)}{hint}"


def _must(rule: str) -> Callable[[ErrorDetails], str]:
    return lambda error: f"{_shown(error['input'])} {rule}".format(**error.get("ctx", {}))


def _pydantic(error: ErrorDetails) -> str:
    return error["msg"]


def _literal(error: ErrorDetails) -> str:
    return _no_choice(error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]))


SENTENCES: dict[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda error: "is missing; add it",
    "literal_error": _literal,
    "int_parsing": _must("is not a whole number"),
    "int_type": _must("is not a whole number"),
    "int_from_float": _must("is not a whole number"),
    "int_parsing_size": _must("is too large"),
    "float_parsing": _must("is not a number"),
    "float_type": _must("is not a number"),
    "finite_number": _must("is not a finite number"),
    "bool_parsing": _must("is neither true nor false"),
    "bool_type": _must("is neither true nor false"),
    "string_type": _must("is not text"),
    "string_too_long": _must("is longer than {max_length} characters"),
    "path_type": _must("is not a path"),
    "greater_than": _must("must be above {gt}"),
    "greater_than_equal": _must("is too small; the least is {ge}"),
    "less_than": _must("must be below {lt}"),
    "less_than_equal": _must("is too large; the most is {le}"),
    "tuple_type": lambda error: f"must be a list; write [{error['input'] if isinstance(error['input'], str) else ''}]",
    "too_long": lambda error: f"has {error['ctx']['actual_length']} values; it takes {error['ctx']['max_length']}",
    "too_short": lambda error: (
        f"has {error['ctx']['actual_length']} values; it takes at least {error['ctx']['min_length']}"
    ),
    "model_type": lambda error: f"must be a section of keys, not {_shown(error['input'])}",
}
