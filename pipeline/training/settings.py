"""The schema of train.yaml: what is trained on which data, and how. Read by ``pipeline.yamlmodel``."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from models.catalogue import CATALOGUE, check_options
from pipeline.config import Device, FilePath, Name, Network, Source
from pipeline.yamlmodel import Section, at

KINDS = {
    "inria": ("folder",),
    "masks": ("images", "labels"),
    "footprints": ("images", "labels"),
    "voc": ("folder",),
    "rendered": (),
}
"""Kinds of data sets, with the keys that each needs."""


class Held(Section):
    """What is held out of training, to validate on."""

    scenes: tuple[str, ...] = ()
    """Names of images, without ending, or patterns of them: *_16, img5?."""
    columns: tuple[int, int] | None = None
    """[first, end) columns of every image, px; the rest of it trains."""
    unused: bool = False
    """true: what is held out is left out altogether, as when another data set shows the same place."""

    @field_validator("columns")
    @classmethod
    def _ascending(cls, columns: tuple[int, int] | None) -> tuple[int, int] | None:
        if columns is not None and not 0 <= columns[0] < columns[1]:
            raise at("columns", f"{list(columns)} holds no column; write [first, end], counted from 0")
        return columns


class DataSet(Section):
    """Labelled scenes of one origin."""

    kind: Literal["inria", "masks", "footprints", "voc", "rendered"]
    """inria: AerialImageDataset/train; masks, footprints: images with masks or a vector file; voc; rendered."""
    share: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Of the training samples, relative to the other data sets'."""
    folder: FilePath | None = None
    """inria: the folder with images/ and gt/; voc: the one with JPEGImages/ and SegmentationClass/."""
    images: Source | None = None
    """masks, footprints: an image, a folder of images or a glob."""
    labels: FilePath | None = None
    """masks: a mask, or a folder of masks named as their images; footprints: the vector file."""
    suffix: str = ""
    """masks: what the masks' names carry behind those of their images, e.g. _mask."""
    validation: Held = Held()
    """Held out beside scenes 1-5 of each city (inria) and ImageSets/Segmentation/val.txt (voc); default: nothing."""
    scenes: Annotated[int, Field(ge=1, le=10_000)] = 64
    """rendered: how many places are rendered."""
    style: str = "auto"
    """rendered: the kind of place, as in ``python -m pipeline.render --style``; auto draws one for each."""
    size: Annotated[int, Field(ge=64, le=4096)] = 448
    """rendered: side of a scene, px."""
    resolution: tuple[Annotated[float, Field(ge=0.05, le=2)], Annotated[float, Field(ge=0.05, le=2)]] = (0.2, 0.5)
    """rendered: finest and coarsest ground resolution, m."""

    @model_validator(mode="after")
    def _complete(self) -> "DataSet":
        for key in KINDS[self.kind]:
            if getattr(self, key) is None:
                raise at(key, f"is missing; kind {self.kind} needs it")
        return self


class NetworkChoice(Section):
    """What is trained, and what it starts from."""

    name: Network = "ternausnet11"
    """The network."""
    options: dict[str, int] = Field(default_factory=dict)
    """Channel counts that differ from the published ones: num_classes, filters."""
    start: Literal["kaiming", "lecun", "imagenet", "encoder", "checkpoint"] = "kaiming"
    """Random weights (He or LeCun), torchvision's ImageNet encoder, or the encoder or all of a weights file."""
    weights: FilePath | None = None
    """The file for start: encoder or checkpoint; for imagenet: torchvision's file, default the one in torch's cache."""
    download: bool = False
    """true: start: imagenet may fetch what is not in the cache."""
    freeze_encoder: Literal["no", "trainable", "statistics", "frozen"] = "no"
    """Freeze the encoder's convolutions; the words say what becomes of its batch norm."""
    batch_norm: bool = False
    """true: trained with batch norm behind every convolution, folded away in the end; for networks without it."""

    @model_validator(mode="after")
    def _complete(self) -> "NetworkChoice":
        if self.start in ("encoder", "checkpoint") and self.weights is None:
            raise at("weights", f"is missing; start: {self.start} needs it")
        try:
            check_options(self.name, self.options)
        except ValueError as error:
            raise at("options", str(error)) from error
        if self.batch_norm and CATALOGUE[self.name].batch_norm:
            raise at("batch_norm", f"{self.name} has batch norm already; leave it out")
        return self

    @property
    def folded(self) -> bool:
        """Whether it starts from weights whose batch norm was folded away, and trains with batch norm."""
        return self.batch_norm and self.start == "checkpoint"

    @property
    def classes(self) -> int:
        """Output channels: 1 is building by a sigmoid, more are classes of a softmax."""
        return self.options.get("num_classes", 1)


class LossChoice(Section):
    """What is minimised."""

    name: Literal["bce-log-jaccard", "dice-cross-entropy", "focal-dice"] = "bce-log-jaccard"
    """The loss."""
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Of its overlap term."""
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """bce-log-jaccard: how far targets are moved from 0 and 1."""
    focus: Annotated[float, Field(ge=1, le=10)] = 2.0
    """focal-dice: the exponent."""


class Augment(Section):
    """How far crops are moved from their originals; 0 is off."""

    scale: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Zoom by up to e^±scale."""
    flips: bool = True
    """The eight flips and quarter turns."""
    rotate: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of crops turned by any angle up to 45°."""
    colour: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Strength of changes of colour, sharpness, noise and compression."""


class Recipe(Section):
    """How it is trained."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Passes, each followed by a validation."""
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """Batches of an epoch."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Time budget: the schedule follows the clock and ends with it. Such a run cannot be repeated to the bit."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 8
    """Crops of a batch, per process."""
    crop: Annotated[tuple[int, ...], Field(min_length=1)] = (256,)
    """Sides of the crops, px; several follow each other in equal parts of the training: small ones first learn fast."""
    optimizer: Literal["adam", "adamw", "muon"] = "adamw"
    """Adam, the same with decoupled weight decay, or Muon: kernels by orthogonalised momentum, the rest by AdamW."""
    rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Highest learning rate."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the rate falls after the warm-up."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training in which the rate rises to its highest."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Weight decay of the kernels."""
    clip: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0: any."""
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the running mean of the weights that is validated and saved; 0: the weights themselves."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the forward and backward pass (AMP)."""
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Of weights and samples: a CPU run with equal settings gives equal weights."""
    workers: Annotated[int, Field(ge=0, le=256)] = 1
    """Processes that cut and recolour crops."""
    save_every: Annotated[int, Field(ge=1)] = 200
    """Steps between checkpoints."""


class Training(Section):
    """One training: data, network, loss, recipe."""

    name: Name
    """Names it in its outputs."""
    output: FilePath = Field(examples=["../runs/inria"])
    """Folder of checkpoints, curves and weights; a run that finds its own checkpoint there resumes."""
    data: Annotated[dict[Name, DataSet], Field(min_length=1)]
    """Scores go by the name of a data set, but by city for kind inria."""
    network: NetworkChoice = NetworkChoice()
    loss: LossChoice = LossChoice()
    augment: Augment = Augment()
    recipe: Recipe = Recipe()
    validation_crop: Annotated[int, Field(ge=32)] | None = None
    """Side of the centre crop of each image that is validated on, px; default: all that is held out."""
    resolution: Annotated[float, Field(gt=0)] | None = None
    """Ground metres per pixel, told in the weights' metadata."""
    statement: str = ""
    """What the weights' metadata say of the training data and their licences; default: the data sets' names."""
    device: Device = "auto"
    """auto, cpu, cuda or cuda:N."""

    @model_validator(mode="after")
    def _targets_stay_apart(self) -> "Training":
        classes = max(self.network.classes, 2)
        if self.loss.smoothing * classes >= 1:
            rule = f"must be below {1 / classes:.3g} for {classes} classes, or the true one is wanted least"
            raise at("loss", f"smoothing {self.loss.smoothing} {rule}")
        return self

    @model_validator(mode="after")
    def _on_stride(self) -> "Training":
        stride = CATALOGUE[self.network.name].stride
        wrong = [side for side in self.recipe.crop if side % stride or side < stride]
        if wrong:
            near = max(round(wrong[0] / stride), 1) * stride
            rule = f"is no multiple of {stride}, the stride of {self.network.name}; nearest is {near}"
            raise at("recipe", f"crop {wrong[0]} {rule}")
        return self
