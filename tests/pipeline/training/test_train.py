"""Whole trainings in small: the paper's config on a miniature of the Inria layout, kills, several processes."""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from places import TINY, place
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from models import checkpoints
from models.predictor import Predictor
from models.samples import level
from models.weights import describe
from pipeline.errors import InputError, OutputError, PipelineError
from pipeline.train import FREE, check_same, kept, main
from pipeline.training import checkpoint, datasets
from pipeline.training.processes import Processes
from pipeline.training.settings import NetworkChoice, Training
from pipeline.training.trainer import Trainer, build
from pipeline.yamlmodel import load_model

CONFIGS = Path(__file__).parents[3] / "configs"
SMALL = ["network.options.filters=2", "recipe.epochs=1", "recipe.steps=2", "recipe.batch=2", "recipe.crop=[32]"]


def overrides(*pairs: str) -> list[str]:
    return [part for pair in pairs for part in ("--set", pair)]


def same(one: Path, other: Path) -> None:
    """Both outputs hold the same numbers, to the bit."""
    for name in (".work/checkpoint.safetensors", "weights.safetensors"):
        a, b = load_file(one / name), load_file(other / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name
    assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()
    histories = [json.loads((out / "history.json").read_text())["validations"] for out in (one, other)]
    losses = [[entry["loss"] for entry in history] for history in histories]
    assert losses[0] == losses[1]


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of eight undisturbed steps."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "train.yaml").write_text(TINY.format(root=root))
    assert main([str(folder / "train.yaml")]) == 0
    return folder / "out"


def test_it_learns_and_leaves_usable_weights(trained: Path) -> None:
    weights = describe(trained / "weights.safetensors")
    history = json.loads((trained / "history.json").read_text())["validations"]
    assert [entry["step"] for entry in history] == [4, 8]
    assert history[-1]["loss"] < history[0]["loss"]
    assert weights.network == "ternausnet11"
    assert weights.threshold == max(history, key=lambda entry: entry["mean"])["threshold"]
    assert {"iou/austin", "iou/tyrol-w", "iou/mean", "iou/overall"} <= weights.scores.keys()
    assert len(weights.reliability) > 2
    assert len(weights.data_sha256) == 64


def test_the_weights_score_what_their_metadata_say(trained: Path) -> None:
    """By the pipeline's own predictor, from the file, folded and in fp16, against the score in the metadata."""
    weights = describe(trained / "weights.safetensors")
    predictor = Predictor(checkpoints.load(weights.path), weights)
    hits = union = 0
    for number in (0, 2):  # austin1 and tyrol-w2: scenes 1-5 validate
        scene = place(number)
        found = predictor.samples(scene.image) >= level(weights.threshold)
        hits += (found & (scene.mask > 0)).sum()
        union += (found | (scene.mask > 0)).sum()
    assert hits / union == pytest.approx(weights.scores["iou/overall"], abs=0.01)


def test_pictures_and_tensorboard_read_back(trained: Path) -> None:
    for name in ("curves.png", "reliability.png"):
        with Image.open(trained / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5
    events = EventAccumulator(str(trained / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("mean")] == [4, 8]


def test_stopped_by_a_signal_and_resumed_equals_undisturbed(
    trained: Path, settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, at = Trainer.step, int(np.random.default_rng().choice([0, 1, 2, 4, 5, 6]))

    def interrupted(trainer: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        if trainer.state.step == at:
            signal.raise_signal(signal.SIGTERM)
        step(trainer, images, labels)

    monkeypatch.setattr(Trainer, "step", interrupted)
    assert main([str(settings_file)]) == 75, f"signal in step {at}"
    monkeypatch.undo()
    assert main([str(settings_file)]) == 0
    same(trained, tmp_path / "out")


def test_killed_at_any_moment_and_resumed_equals_undisturbed(
    trained: Path, settings_file: Path, tmp_path: Path
) -> None:
    """kill -9, no chance to save: the run goes on from the last checkpoint."""
    command = [sys.executable, "-m", "pipeline.train", str(settings_file), "--quiet"]
    process = subprocess.Popen(command, cwd=CONFIGS.parent)
    kept = tmp_path / "out" / ".work" / "checkpoint.safetensors"
    while not kept.exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(np.random.default_rng().uniform(0, 1))
    process.kill()
    process.wait()
    assert main([str(settings_file)]) == 0
    same(trained, tmp_path / "out")


def test_a_finished_training_is_not_trained_further(trained: Path) -> None:
    before = (trained / ".work" / "checkpoint.safetensors").stat().st_mtime_ns
    assert main([str(trained.parent / "train.yaml")]) == 0
    assert (trained / ".work" / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_other_settings_do_not_resume(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(trained.parent / "train.yaml"), *overrides("recipe.rate=0.5")]) == 2
    assert "recipe.rate (0.001 before, 0.5 now); --overwrite starts anew" in capsys.readouterr().err


def test_the_papers_recipe_runs_on_a_miniature(root: Path, tmp_path: Path) -> None:
    config = CONFIGS / "train-inria-ternausnet11.yaml"
    changed = overrides(
        f"data.inria.folder={root}/inria",
        f"output={tmp_path}",
        "network.start=lecun",
        "validation_crop=96",
        "device=cpu",
        "recipe.workers=0",
        *SMALL,
    )
    assert main([str(config), "--quiet", *changed]) == 0
    assert {"iou/austin", "iou/tyrol-w"} <= describe(tmp_path / "weights.safetensors").scores.keys()


@pytest.mark.slow
def test_two_processes_train_as_one(root: Path, settings_file: Path, tmp_path: Path) -> None:
    """torchrun with gloo: both see other samples, and end with the same weights."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    changed = overrides("recipe.epochs=1", "recipe.steps=2", "network.batch_norm=false", "recipe.crop=[32]")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*torchrun, "-m", "pipeline.train", str(settings_file), *changed]
    done = subprocess.run(command, cwd=CONFIGS.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = describe(tmp_path / "out" / "weights.safetensors").scores
    assert scores
    print(f"two processes trained: {scores}")


def test_classes_train_on_a_voc_folder(root: Path, settings_file: Path, tmp_path: Path) -> None:
    """Three classes by a softmax, void left out, cross entropy with Dice; scored by the mean over the classes."""
    text = settings_file.read_text().replace("kind: inria, folder", "kind: voc, folder").replace("/inria}", "/voc}")
    settings_file.write_text(text + "loss: {name: dice-cross-entropy}\n")
    changed = overrides("network.options.num_classes=3", "recipe.epochs=1", "recipe.steps=2")
    assert main([str(settings_file), "--quiet", *changed]) == 0
    weights = describe(tmp_path / "out" / "weights.safetensors")
    assert len(weights.classes) == 3
    logits = checkpoints.load(weights.path)(torch.zeros(1, 3, 32, 32))
    assert logits.shape == (1, 3, 32, 32)


def test_data_of_every_kind_train_together(root: Path, settings_file: Path, tmp_path: Path) -> None:
    data = f"""
  chips: {{kind: masks, images: "{root}/chips/*.tif", labels: {root}/chips, suffix: _mask}}
  vectors: {{kind: footprints, images: {root}/inria/images/austin1.tif, labels: {root}/footprints.geojson, share: 0.5}}
  drawn: {{kind: rendered, scenes: 1, size: 96}}
network:"""
    settings_file.write_text(settings_file.read_text().replace("\nnetwork:", data, 1))
    changed = overrides("recipe.epochs=1", "recipe.steps=2", "recipe.workers=1")
    assert main([str(settings_file), "--quiet", *changed]) == 0
    assert "chips, vectors, drawn" in describe(tmp_path / "out" / "weights.safetensors").training_data


@pytest.mark.parametrize("start", ["encoder", "checkpoint"])
def test_a_training_starts_from_other_weights(trained: Path, start: str) -> None:
    """From the encoder alone, or from the whole network, as the paper does with Carvana."""
    torch.manual_seed(5)
    weights = trained / "weights.safetensors"
    network = build(NetworkChoice(options={"filters": 2}, start=start, weights=weights))
    source = checkpoints.load(weights)
    assert torch.equal(network.encoder[0].weight, source.encoder[0].weight)
    assert torch.equal(network.final.weight, source.final.weight) == (start == "checkpoint")


def test_a_device_that_is_not_there_is_refused(settings_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(settings_file), "--quiet", *overrides("device=cuda:99")]) == 2
    assert "device: cuda:99, but torch sees" in capsys.readouterr().err


def test_stopped_while_rendering_it_says_so_and_goes_on(
    settings_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = "drawn: {kind: rendered, scenes: 3, size: 64}\nnetwork:"
    settings_file.write_text(settings_file.read_text().replace("\nnetwork:", f"\n  {drawn}", 1))
    write, made = datasets.write_image, []

    def interrupted(path: Path, *arguments: object) -> None:
        made.append(path)
        signal.raise_signal(signal.SIGINT)
        write(path, *arguments)

    monkeypatch.setattr(datasets, "write_image", interrupted)
    assert main([str(settings_file), "--quiet"]) == 75
    assert "stopped while scenes were rendered" in capsys.readouterr().err
    assert len(made) == 1
    assert len(list((tmp_path / "out" / ".work").rglob("0000?.tif"))) == 1


def test_a_training_that_diverges_keeps_its_last_checkpoint(
    settings_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def poisoned(trainer: Trainer, images: torch.Tensor, labels: torch.Tensor) -> None:
        step(trainer, images * (math.nan if trainer.state.step == 3 else 1), labels)

    monkeypatch.setattr(Trainer, "step", poisoned)
    assert main([str(settings_file), "--quiet"]) == 1
    told = "step 4: the loss is not finite; lower recipe.rate or set recipe.clip; the checkpoint of step 2 is kept"
    assert told in capsys.readouterr().err
    kept = tmp_path / "out" / ".work" / "checkpoint.safetensors"
    assert json.loads(checkpoint.facts(kept)["state"])["step"] == 2
    assert all(value.isfinite().all() for value in load_file(kept).values())


def test_weights_that_are_not_finite_are_not_saved(settings_file: Path) -> None:
    """The gradient may overflow where the loss does not."""
    trainer = Trainer(load_model(settings_file, [], Training), Processes())
    trainer.check_finite()
    next(trainer.network.parameters()).data.fill_(math.inf)
    with pytest.raises(PipelineError, match=r"the network is not finite; .*no checkpoint was written yet"):
        trainer.check_finite()


def test_fp16_may_leave_out_steps_but_not_a_hundred_in_a_row(settings_file: Path) -> None:
    trainer = Trainer(load_model(settings_file, ["recipe.precision=fp16"], Training), Processes())
    for loss in [0.5, *[math.nan] * 99, 0.7, *[math.inf] * 99]:
        trainer._note(loss)
    assert trainer.state.losses == [0.5, 0.7]
    with pytest.raises(PipelineError, match="the loss is not finite"):
        trainer._note(math.nan)


def test_classes_that_the_network_does_not_have_are_told(
    root: Path, settings_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = settings_file.read_text().replace("kind: inria, folder", "kind: voc, folder").replace("/inria}", "/voc}")
    settings_file.write_text(text)
    assert main([str(settings_file), "--quiet", *overrides("network.options.num_classes=2")]) == 2
    told = capsys.readouterr().err
    assert "p0.png: has class 2, but the network 2 classes" in told
    assert "set network.options.num_classes to 3 or more" in told


def test_a_fused_optimizers_counters_come_back_to_its_device() -> None:
    parameter, count = torch.empty(3, 2, device="meta"), torch.tensor(5.0)
    assert checkpoint.like(parameter, count, fused=True).device.type == "meta"
    assert checkpoint.like(parameter, count, fused=False).device.type == "cpu"
    assert checkpoint.like(parameter, torch.zeros(3, 2), fused=False).device.type == "meta"


def test_what_a_killed_training_was_writing_is_swept_once_the_lease_is_held(tmp_path: Path) -> None:
    names = (".work/.checkpoint.safetensors.7.partial.safetensors", ".weights.safetensors.7.partial.safetensors")
    others = (".evaluation.png.7.partial.png", ".work/checkpoint.safetensors")
    (tmp_path / ".work" / "drawn-1").mkdir(parents=True)
    for name in (*names, ".work/drawn-1/.00001.tif.7.partial.tif", *others):
        (tmp_path / name).write_text("half")
    with kept(tmp_path, Processes(), overwrite=False):
        left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*others, ".work/lease", ".work/lease.lock"}


CHANGED = {
    "output": "elsewhere",
    "device": "auto",
    "network.download": "true",
    "recipe.workers": "2",
    "recipe.save_every": "3",
    "recipe.epochs": "5",
    "recipe.minutes": "7",
}
"""For every key that may change, another value than the one it was begun with."""


@pytest.mark.parametrize("key", FREE)
def test_a_resumed_training_may_be_told_elsewhere_otherwise_and_longer(trained: Path, key: str) -> None:
    """As one that was told to download: the file is there now."""
    begun, changed = (
        load_model(trained.parent / "train.yaml", more, Training) for more in ([], [f"{key}={CHANGED[key]}"])
    )
    assert changed != begun
    check_same(changed, trained / ".work" / "checkpoint.safetensors", 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("name=other", "name (tiny before, other now)"),
        ("network.batch_norm=false", "network.batch_norm (True before, False now)"),
        ("network.options.num_classes=2", "network.options.num_classes (None before, 2 now)"),
        ("recipe.crop=[32]", "recipe.crop ([32, 64] before, [32] now)"),
    ],
)
def test_nothing_else_may_change(trained: Path, change: str, told: str) -> None:
    settings = load_model(trained.parent / "train.yaml", [change], Training)
    with pytest.raises(OutputError, match=re.escape(f"was begun with other settings: {told}; --overwrite")):
        check_same(settings, trained / ".work" / "checkpoint.safetensors", 1)


def test_another_number_of_processes_does_not_resume(trained: Path) -> None:
    settings = load_model(trained.parent / "train.yaml", [], Training)
    path = trained / ".work" / "checkpoint.safetensors"
    check_same(settings, path, 1)
    with pytest.raises(OutputError, match="was begun by 1 process"):
        check_same(settings, path, 2)


SETTLING = """
import sys, torch
from pathlib import Path
from pipeline.training import checkpoint
from pipeline.training.processes import joined
from pipeline.training.trainer import Trainer
from pipeline.training.settings import Training
from pipeline.yamlmodel import load_model
with joined("cpu") as processes:
    trainer = Trainer(load_model(Path(sys.argv[1]), sys.argv[2:], Training), processes)
    trainer.pace.start(0)
    torch.manual_seed(processes.index)
    trainer.step(torch.rand(2, 3, 32, 32), torch.randint(2, (2, 32, 32), dtype=torch.uint8))
    ends = [float(value.detach().double().sum()) for part in trainer._parts().values()
            for name, value in checkpoint.tensors(part).items() if "running" not in name]
    Path(f"{processes.index}.txt").write_text(repr(ends))
"""
"""One step of a process on images of its own; leaves the sums of its tensors, but for its own batches' statistics."""


@pytest.mark.slow
def test_processes_settle_folded_weights_alike(trained: Path, settings_file: Path, tmp_path: Path) -> None:
    changed = ["network.start=checkpoint", f"network.weights={trained / 'weights.safetensors'}"]
    command = [sys.executable, "-c", SETTLING, str(settings_file), *changed]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    path = {"PYTHONPATH": str(CONFIGS.parent)}
    both = [
        subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **shared, **path, "RANK": str(n)}) for n in (0, 1)
    ]
    assert [process.wait() for process in both] == [0, 0]
    assert (tmp_path / "0.txt").read_text() == (tmp_path / "1.txt").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_time_budget_is_for_a_single_process(settings_file: Path) -> None:
    settings = load_model(settings_file, ["recipe.minutes=5"], Training)
    with pytest.raises(InputError, match="for a single process"):
        Trainer(settings, Processes(0, 2))


def test_a_frozen_encoder_stays_as_it_is(root: Path, settings_file: Path, tmp_path: Path) -> None:
    changed = overrides("network.freeze_encoder=trainable", "recipe.epochs=1", "recipe.steps=1", "recipe.crop=[32]")
    settings = load_model(settings_file, changed[1::2], Training)
    trainer = Trainer(settings, Processes())
    trainer.pace.start(0)
    before = {name: value.clone() for name, value in trainer.network.named_parameters()}
    trainer.step(torch.rand(2, 3, 32, 32), torch.randint(2, (2, 32, 32), dtype=torch.uint8))
    moved = {name for name, value in trainer.network.named_parameters() if not torch.equal(before[name], value)}
    kernels = {name for name, value in before.items() if name.startswith("encoder") and value.ndim == 4}
    assert not moved & kernels
    assert any(name.startswith("dec1") for name in moved)
