"""Torchvision is known to one module, and needed by training alone."""

import ast
import subprocess
import sys
from pathlib import Path

import torch

from models.vision import torchvision, v2

ROOT = Path(__file__).parents[2]


def imports_torchvision(path: Path) -> bool:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return any(name.partition(".")[0] == "torchvision" for name in names)


def test_one_module_imports_torchvision() -> None:
    found = [path for package in ("models", "pipeline", "tiling") for path in (ROOT / package).rglob("*.py")]
    assert [path.relative_to(ROOT) for path in found if imports_torchvision(path)] == [Path("models/vision.py")]


def test_loading_and_running_a_network_needs_no_torchvision() -> None:
    code = (
        "import sys, models.checkpoints, models.catalogue, models.predictor, models.initialise\n"
        "models.catalogue.build('unet-resnet18')\n"
        "print('torchvision' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_it_works_as_imported() -> None:
    flipped = v2.functional.horizontal_flip(torch.arange(6).reshape(1, 2, 3))
    assert flipped.tolist() == [[[2, 1, 0], [5, 4, 3]]]
    assert torchvision.models.resnet18(weights=None).fc.out_features == 1000
