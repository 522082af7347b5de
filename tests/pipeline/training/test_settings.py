"""train.yaml: the shipped configs are sound, and what is wrong is told with its place."""

from pathlib import Path

import pytest

from models.catalogue import CATALOGUE
from pipeline.errors import InputError
from pipeline.training.settings import Training
from pipeline.yamlmodel import load_model

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("train-*.yaml"))

BASE = """name: x
output: out
data:
  a: {kind: inria, folder: inria}
"""


def problems(tmp_path: Path, text: str, *overrides: str) -> str:
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_model(path, overrides, Training)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_of_the_project_are_sound(path: Path) -> None:
    settings = load_model(path, [], Training)
    assert settings.network.name in CATALOGUE
    assert all(data.folder is None or data.folder.is_absolute() for data in settings.data.values())


def test_the_papers_recipe_is_the_papers() -> None:
    settings = load_model(CONFIGS[[path.stem for path in CONFIGS].index("train-inria-ternausnet11")], [], Training)
    recipe = settings.recipe
    assert (recipe.optimizer, recipe.rate, recipe.epochs, recipe.crop) == ("adam", 1e-3, 100, (768,))
    assert (settings.validation_crop, settings.loss.name, settings.loss.weight) == (1440, "bce-log-jaccard", 1.0)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("recipe: {crop: [100]}\n", "crop 100 is no multiple of 32, the stride of ternausnet11; nearest is 96"),
        ("recipe: {ratio: 1}\n", "train.yaml:5:10 recipe.ratio: unknown key; did you mean recipe.rate?"),
        ("network: {start: encoder}\n", "network.weights: is missing; start: encoder needs it"),
        ("network: {name: ternaustnet11}\n", "did you mean ternausnet11?"),
        ("network: {options: {filter: 3}}\n", "has no option 'filter'"),
        ("network: {name: unet, batch_norm: true}\n", "unet has batch norm already"),
        ("  b: {kind: masks, images: x}\n", "train.yaml:5:6 data.b.labels: is missing; kind masks needs it"),
        ("  b: {kind: voc, folder: x, validation: {columns: [5, 2]}}\n", "[5, 2] holds no column"),
        ("loss: {smoothing: 0.3}\nnetwork: {options: {num_classes: 4}}\n", "loss: smoothing 0.3 must be below 0.25"),
        ("loss: {smoothing: 0.5}\n", "loss.smoothing: '0.5' must be below 0.5"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, more: str, sentence: str) -> None:
    assert sentence in problems(tmp_path, BASE + more)
