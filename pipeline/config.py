"""The schema of region.yaml: one frozen value, checked whole, every problem told at once with its line and column.

Descriptions below are the reference documentation, and the JSON schema that editors use; after a change of them:
``python -m pipeline.config > configs/region.schema.json``.
"""

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

import models
from models.catalogue import CATALOGUE
from models.catalogue import Network as NetworkFacts
from pipeline import device
from pipeline.yamlmodel import Auto, Section, at, load_model, no_choice, shown
from pipeline.yamlnodes import Scalar
from tiling.grid import nearest, round_up

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    f"{prefix}i{end}": 1 << 10 * (power + 1) for power, prefix in enumerate("KMGT") for end in ("B", "")
}


def _absolute(value: object) -> object:
    """A path, made absolute by the folder of the file that it was written in."""
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise PydanticCustomError("path", "is not a path; write one, relative to this file or absolute")
    base = value.base if isinstance(value, Scalar) else Path()
    return Path(os.path.normpath(base / value))  # as people read it: no ../ in the middle


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
        raise PydanticCustomError("bytes", "{value} is not a size; write e.g. 8GiB or 500MB", {"value": shown(value)})
    size = int(float(match[1]) * unit)
    if size < 1 << 20:
        raise PydanticCustomError(
            "bytes", "{value} is less than 1 MiB; write a unit, e.g. 8GiB", {"value": shown(value)}
        )
    return size


def _known_network(name: str) -> str:
    if name not in CATALOGUE:
        raise PydanticCustomError("network", "{sentence}", {"sentence": no_choice(name, list(CATALOGUE))})
    return name


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """At least one, each once."""
    if not values:
        raise PydanticCustomError("some", "is empty; it takes at least one value")
    return tuple(dict.fromkeys(values))


def _matching(pattern: str, sentence: str) -> AfterValidator:
    """A check of text against ``pattern``, which says ``sentence`` when it fails."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise PydanticCustomError("pattern", "{text} {sentence}", {"text": shown(text), "sentence": sentence})
        return text

    return AfterValidator(check)


FilePath = Annotated[Path, BeforeValidator(_absolute)]
Source = Annotated[str, BeforeValidator(_source)]
Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
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
Format = Literal["gpkg", "parquet", "flatgeobuf", "geojson"]
Device = Annotated[str, _matching(device.PATTERN, device.RULE)]
Walltime = Annotated[
    str, _matching(r"(\d{1,3}-)?\d{1,3}:[0-5]\d:[0-5]\d", "is not a walltime; write HH:MM:SS or D-HH:MM:SS")
]
OneLine = Annotated[str, _matching(r"[^\r\n\0]*", "must be one line")]
Network = Annotated[str, AfterValidator(_known_network), WithJsonSchema({"type": "string", "enum": list(CATALOGUE)})]


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

    @field_serializer("nodata", when_used="json")
    def _as_text(self, nodata: Any) -> Any:
        """JSON has no numbers that are not finite; as text they load again, and equal each other."""
        return nodata if nodata == "auto" or math.isfinite(nodata) else str(nodata)

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
    """A safetensors or torch file; default: the weights that come with the project, for ternausnet11 only."""


class Tiles(Section):
    """What the network sees at a time."""

    size: Auto[Annotated[int, Field(ge=1, le=1 << 20)]] = "auto"
    """Side of a tile in px, a multiple of the model's stride; auto: the best fit for the memory."""
    halo: Auto[Annotated[int, Field(ge=0, le=1 << 16)]] = "auto"
    """Context on each side of a block in px, rounded up to the stride; auto: the network's reach, which is seamless."""


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
    """true: right angles where the outline allows it."""
    split: bool = False
    """true: buildings that touch are separated where the probability has a clear valley."""
    formats: Annotated[tuple[Format, ...], AfterValidator(_some)] = ("gpkg",)
    """Files that are written: gpkg, parquet, flatgeobuf, geojson."""


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
    """local: this machine; cuda: one worker per GPU of it; slurm: batch jobs; address: a running Dask scheduler."""
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
    """Memory of a job, e.g. 32GiB; default: the region's memory for each worker of it (one per GPU), and 1 GiB."""
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
                raise at(key, f"belongs to cluster.kind {' or '.join(CLUSTER_KEYS[key])}, not {self.kind}; remove it")
        if self.kind == "address" and self.address is None:
            raise at("address", "is missing; cluster.kind address needs it, e.g. address: tls://10.0.0.5:8786")
        return self


class Region(Section):
    """One region: which scenes, which network, what comes out."""

    name: Name = Field(examples=["banepa"])
    """Names the region in its outputs."""
    scenes: Annotated[tuple[Source, ...], AfterValidator(_some)] = Field(examples=["[scenes/*.tif]"])
    """GeoTIFF files, folders of them, or globs; they form one mosaic, in which the first scene with data wins."""
    output: FilePath = Field(examples=["out/banepa"])
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
    """Memory limit of each worker with the network, e.g. 8GiB; auto: a fair share of machine or job, at most 6 GiB."""
    on_error: Literal["report", "stop"] = "report"
    """When a block fails; report: finish the rest, list the failed blocks, exit 3; stop: stop at once."""

    @model_validator(mode="before")
    @classmethod
    def _default_output(cls, data: Any) -> Any:
        """Where it is not given, it is made from the name (any, where that is missing)."""
        if not isinstance(data, dict) or "output" in data:
            return data
        name = data.get("name")
        base = name.base if isinstance(name, Scalar) else Path()
        return {**data, "output": Scalar.of(f"out/{name if isinstance(name, str) else 'x'}", base)}

    @field_validator("tiles")
    @classmethod
    def _on_stride(cls, tiles: Tiles, info: ValidationInfo) -> Tiles:
        if "model" in info.data and tiles.size != "auto":
            _check_size(tiles.size, tiles.halo, CATALOGUE[info.data["model"].name])
        return tiles

    @field_validator("inference")
    @classmethod
    def _turned(cls, inference: Inference, info: ValidationInfo) -> Inference:
        """What is turned and flipped needs as much context on every side."""
        if inference.tta == "d4" and {"model", "tiles"} <= info.data.keys() and info.data["tiles"].size != "auto":
            tiles, network = info.data["tiles"], CATALOGUE[info.data["model"].name]
            halo = max(network.before, network.after) if tiles.halo == "auto" else tiles.halo
            if told := _too_small(tiles.size, (halo, halo), network.stride):
                raise at("tta", f"d4 turns the tile, so tiles.size {told}")
        return inference


def _check_size(size: int, halo: int | Literal["auto"], network: NetworkFacts) -> None:
    """A tile's side must be a multiple of the network's stride, and leave something of the tile inside its halo."""
    stride = network.stride
    if size % stride:
        raise at("size", f"{size} is not a multiple of {stride}; nearest are {nearest(size, stride)}")
    if told := _too_small(size, (network.before, network.after) if halo == "auto" else (halo, halo), stride):
        raise at("size", told)


def _too_small(size: int, halo: tuple[int, int], stride: int) -> str:
    """That a tile of ``size`` has nothing inside its halo, and the least that has; empty where it has."""
    least = sum(round_up(px, stride) for px in halo) + stride
    return f"{size} leaves nothing inside a halo of {halo[0]} + {halo[1]} px; the least is {least}" * (size < least)


def load(path: Path, overrides: Sequence[str] = ()) -> Region:
    """The region that a YAML file describes, with overrides ``key.path=value``: see ``load_model``.

    Raises:
        InputError: every problem of the file and the overrides, each with place, key, value, rule and cure.
    """
    return load_model(path, overrides, Region)


def json_schema() -> dict[str, Any]:
    """The schema for editors, which complete and check a region.yaml by it: ``configs/region.schema.json``."""
    schema = Region.model_json_schema()
    schema["required"].remove("output")  # made from the name
    del schema["properties"]["model"]["default"]  # holds a path of the machine that made it
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
