"""What people see of a training, on a terminal and in a log."""

import io
import re
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pipeline.training import teller
from pipeline.training.processes import Processes
from pipeline.training.settings import Training
from pipeline.training.trainer import Trainer
from pipeline.yamlmodel import load_model


def told(settings_file: Path, *, terminal: bool) -> str:
    """What is printed during two steps."""
    trainer = Trainer(load_model(settings_file, ["recipe.crop=[32]"], Training), Processes())
    trainer.pace.start(0)
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    speaker = teller.Teller(console)
    for _ in range(2):
        trainer.step(torch.rand(2, 3, 32, 32), torch.randint(2, (2, 32, 32), dtype=torch.uint8))
        speaker.stepped(trainer, 2 * 32 * 32)
    speaker.close()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def test_a_terminal_shows_a_bar(settings_file: Path) -> None:
    text = told(settings_file, terminal=True)
    assert "step 2" in text
    assert re.search(r"25\.0%  loss \d\.\d{4}  rate \d\.\d{2}e-\d\d  \d+\.\d{3} Mpx/s", text)


def test_a_log_gets_a_line_now_and_then(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(settings_file, terminal=False) == ""
    monkeypatch.setattr(teller, "LOG_INTERVAL", 0.0)
    assert len(told(settings_file, terminal=False).splitlines()) == 2
