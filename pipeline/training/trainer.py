"""A training in progress: network, running average, optimizer, and how far it is. One step at a time."""

import copy
import json
import math
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from models import catalogue, initialise, losses
from models.checkpoints import read_tensors
from models.feeding import channels_last, normalised
from models.fitting import fitted
from models.folding import fold, settle, with_batch_norm
from models.freezing import freeze_encoder
from models.predictor import PRECISIONS
from pipeline.errors import InputError, PipelineError
from pipeline.training import checkpoint
from pipeline.training.muon import Muon, groups_of
from pipeline.training.pace import Pace
from pipeline.training.processes import Processes
from pipeline.training.settings import LossChoice, NetworkChoice, Recipe, Training

OVERFLOWS_MAX = 100
"""Steps in a row that fp16 may leave out: its scale of 2¹⁶ has been halved to nothing long before."""


@dataclass(slots=True)
class State:
    """What a checkpoint holds besides tensors."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    """Time spent on them, s."""
    best: float = -1.0
    """Highest validation IoU so far."""
    losses: list[float] = field(default_factory=list)
    """Of the steps since the last validation."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per validation: step, loss, rate, scores."""
    scale: dict[str, Any] = field(default_factory=dict)
    """State of fp16's loss scaling."""


def build(choice: NetworkChoice) -> nn.Module:
    """The network with its first weights, in fp32. Draws from torch's generator.

    Raises:
        WeightsError: a file does not fit.
    """
    network = catalogue.build(choice.name, **choice.options)
    (initialise.lecun_uniform if choice.start == "lecun" else initialise.kaiming_normal)(network)
    if choice.start == "imagenet":
        file = choice.weights or initialise.imagenet_file(network, download=choice.download)
        initialise.encoder_from(network, file)
    elif choice.start == "encoder":
        initialise.encoder_from(network, choice.weights or Path())
    elif choice.start == "checkpoint":
        path = choice.weights or Path()
        network.load_state_dict(fitted(network, choice.name, read_tensors(path), path))
    if choice.batch_norm:
        network = with_batch_norm(network)
    if choice.freeze_encoder != "no":
        freeze_encoder(network, choice.freeze_encoder)
    return channels_last(network)


def loss_of(choice: LossChoice) -> losses.Loss:
    """The loss that the settings name."""
    return {
        "bce-log-jaccard": partial(losses.bce_log_jaccard, weight=choice.weight, smoothing=choice.smoothing),
        "dice-cross-entropy": partial(losses.dice_cross_entropy, weight=choice.weight),
        "focal-dice": partial(losses.focal_dice, weight=choice.weight, focus=choice.focus),
    }[choice.name]


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Only kernels decay: biases and normalisations have no scale to be kept small."""
    if recipe.optimizer == "muon":
        return Muon(groups_of(network, recipe.decay), recipe.rate)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind([group for group in groups if group["params"]], lr=recipe.rate, fused=True)


class Trainer:
    """One process's part of a training."""

    def __init__(self, settings: Training, processes: Processes) -> None:
        """Builds everything from the seed; equal settings give equal trainers.

        Raises:
            InputError: a time budget with several processes, whose clocks would end at different steps.
        """
        if processes.count > 1 and settings.recipe.minutes:
            raise InputError("recipe.minutes is for a single process: several would end apart; use recipe.epochs")
        torch.manual_seed(settings.recipe.seed)
        self.settings, self.processes = settings, processes
        self.device = processes.device(settings.device)
        self.dtype = PRECISIONS[settings.recipe.precision]
        self.network = build(settings.network).to(self.device)
        self.average = copy.deepcopy(self.network) if settings.recipe.average else None
        self.optimizer = optimizer_of(self.network, settings.recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.loss = loss_of(settings.loss)
        self.pace, self.state = Pace(settings.recipe), State()
        self.overflows = self.saved = 0
        self.parallel = self._parallel()

    def _parallel(self) -> nn.Module:
        """The network, or what averages its gradients over the processes."""
        if self.processes.count == 1:
            return self.network
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.network, device_ids=devices)

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and saved: the average of the last weights, if there is one."""
        return self.average or self.network

    @property
    def finished(self) -> bool:
        """Whether the schedule is at its end."""
        return self.pace.progress(self.state.step) >= 1

    def plain(self) -> nn.Module:
        """A copy of ``judged`` as it is used: on the CPU, batch norm folded away where it was for training only."""
        network = copy.deepcopy(self.judged).cpu()
        return fold(network) if self.settings.network.batch_norm else network

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One step on (N, 3, H, W) RGB 0..1 and (N, H, W) labels; its loss is the last of ``state.losses``.

        Raises:
            PipelineError: the loss is not finite; the weights are those of the step before.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.pace.rate(self.state.step)
        images, labels = images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
        if self.state.step == 0 and self.settings.network.folded:
            self._settle(images)
        self.parallel.train()
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            logits = self.parallel(normalised(images))
        loss = self.loss(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._note(float(self.processes.mean(loss.detach())))
        self._clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.state.step += 1
        self._follow()

    def _note(self, loss: float) -> None:
        """Remember the loss of the step in hand; one that is not finite ends the training before the weights move.

        But for fp16, whose scaler leaves out steps that overflow, and halves its scale until they fit.
        """
        if math.isfinite(loss):
            self.state.losses.append(loss)
            self.overflows = 0
            return
        self.overflows += 1
        if not self.scaler.is_enabled() or self.overflows >= OVERFLOWS_MAX:
            raise self._diverged("loss", self.state.step + 1)

    def check_finite(self) -> None:
        """Refuse to go on with weights that are not finite, before anything is made or saved of them.

        Raises:
            PipelineError: some are; it says what to change.
        """
        parts = [value for part in self._parts().values() for value in checkpoint.tensors(part).values()]
        if not all(bool(value.isfinite().all()) for value in parts):
            raise self._diverged("network", self.state.step)

    def _diverged(self, what: str, step: int) -> PipelineError:
        kept = f"the checkpoint of step {self.saved} is kept" if self.saved else "no checkpoint was written yet"
        told = f"step {step}: the {what} is not finite; lower recipe.rate or set recipe.clip; {kept}"
        return PipelineError(f"{self.settings.output}: {told}")

    def _settle(self, images: Tensor) -> None:
        """Trained weights go on from where they were when their batch norm was folded."""
        for network in self._parts().values():
            settle(network, normalised(images))
            self.processes.agree(checkpoint.tensors(network).values())  # each has settled on images of its own

    def _clip(self) -> None:
        if self.settings.recipe.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.recipe.clip)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards the weights; its memory is short at first, so that the random start is forgotten."""
        if self.average is None:
            return
        step = self.state.step
        decay = min(self.settings.recipe.average, (1 + step) / (10 + step))
        own, new = checkpoint.tensors(self.average), checkpoint.tensors(self.network)
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in floats], [new[name].detach() for name in floats], 1 - decay)

    def _parts(self) -> dict[str, nn.Module]:
        return {"network": self.network, **({"average": self.average} if self.average else {})}

    def save(self, path: Path) -> None:
        """Write all of it to ``path``."""
        self.state.seconds, self.state.scale = self.pace.seconds, self.scaler.state_dict()
        facts = {"state": json.dumps(asdict(self.state)), "settings": self.settings.model_dump_json()}
        checkpoint.save(path, self._parts(), self.optimizer, {**facts, "processes": str(self.processes.count)})
        self.saved = self.state.step

    def resume(self, path: Path) -> None:
        """Go on from what ``save`` wrote, if it is there; in any case the clock starts."""
        if path.exists():
            self.state = State(**json.loads(checkpoint.facts(path)["state"]))
            checkpoint.load(path, self._parts(), self.optimizer)
            if self.state.scale:
                self.scaler.load_state_dict(self.state.scale)
            self.saved = self.state.step
        self.pace.start(self.state.seconds)
