"""What a training leaves to be looked at: curves as a picture, TensorBoard files, the history as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.durable import replace, write_json


def write(output: Path, history: Sequence[dict[str, Any]]) -> None:
    """``curves.png`` and ``history.json`` in ``output``, whole."""
    write_json(output / "history.json", {"validations": list(history)})
    with replace(output / "curves.png") as aside:
        draw(aside, history)


def draw(path: Path, history: Sequence[dict[str, Any]]) -> None:
    """Loss and rate on the left, IoU by source and the calibrated threshold on the right, over the steps."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that a training's other processes need not spend

    figure = Figure(figsize=(11, 4), layout="constrained")
    losses, ious = figure.subplots(1, 2)
    steps = [entry["step"] for entry in history]
    losses.plot(steps, [entry["loss"] for entry in history], color="black")
    losses.set(xlabel="step", ylabel="training loss")
    rates = losses.twinx()
    rates.plot(steps, [entry["rate"] for entry in history], color="silver")
    rates.set(ylabel="learning rate (grey)", ylim=(0, None))
    for source in history[-1]["iou"]:
        ious.plot(steps, [entry["iou"][source] for entry in history], label=source, linewidth=1)
    ious.plot(steps, [entry["mean"] for entry in history], color="black", label="mean", linewidth=2)
    ious.plot(steps, [entry["threshold"] for entry in history], color="silver", linestyle=":", label="threshold")
    ious.set(xlabel="step", ylabel="validation IoU at the best threshold", ylim=(0, 1))
    ious.legend(fontsize="small", ncols=2)
    figure.savefig(path, dpi=120)


def reliability(path: Path, curve: Sequence[tuple[float, float]]) -> None:
    """A picture of observed share of buildings over predicted probability, whole."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="silver", linestyle=":")
    axes.plot(*zip(*curve, strict=True), marker="o", color="black")
    axes.set(xlabel="predicted probability", ylabel="observed share of buildings", xlim=(0, 1), ylim=(0, 1), aspect=1)
    with replace(path) as aside:
        figure.savefig(aside, dpi=120)


class Board:
    """TensorBoard's event files; on resuming, what was written after the checkpoint is dropped from view."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - imports TensorBoard, an extra

        self.writer: Any = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, entry: dict[str, Any]) -> None:
        """One validation."""
        for name in ("loss", "rate", "mean", "threshold"):
            if entry[name] is not None:
                self.writer.add_scalar(name, entry[name], entry["step"])
        for source, value in entry["iou"].items():
            self.writer.add_scalar(f"iou/{source}", value, entry["step"])
        self.writer.flush()

    def close(self) -> None:
        """Finish the files."""
        self.writer.close()
