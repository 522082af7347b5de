"""A device that is busy, full or broken is refused with a sentence, before anything is computed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import small
import torch

from models import predictor
from pipeline import config, network, survey, trial
from pipeline.errors import InputError
from pipeline.machine import GIB

FAULTS = {
    "full": (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        r"cuda cannot run ternausnet11: it has too little memory \(0\.50 of 80\.00 GiB free\); end what else runs",
    ),
    "full already": (torch.AcceleratorError("CUDA error: out of memory\nadvice"), "it has too little memory"),
    "of one tile": (predictor.DeviceMemoryError((256, 256)), "it has too little memory"),
    "taken": (
        torch.AcceleratorError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nadvice"),
        r"cuda cannot run ternausnet11: CUDA error: CUDA-capable device\(s\) is/are busy or unavailable \(0\.50 of",
    ),
}


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Callable[..., None]:
    """Let every network that is loaded fail so."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(predictor, "Predictor", fail)
    return fail


@pytest.mark.parametrize("case", FAULTS)
def test_a_gpu_that_cannot_run_the_network_is_refused(
    case: str, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, told = FAULTS[case]
    failing(monkeypatch, error)
    monkeypatch.setattr(trial, "device_of", lambda *_: "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (GIB // 2, 80 * GIB))
    region = config.load(small.tiny_region(tmp_path, weights))
    with pytest.raises(InputError, match=told) as caught:
        trial.Request.of(region).answer(survey.survey(region))
    assert "advice" not in str(caught.value)


def test_a_gpu_that_does_not_even_say_what_is_free_is_refused(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = failing(monkeypatch, torch.AcceleratorError("CUDA error: out of memory"))
    monkeypatch.setattr(trial, "device_of", lambda *_: "cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    region = config.load(small.tiny_region(tmp_path, weights))
    with pytest.raises(InputError, match="it has too little memory; end what else runs there, or use another one, or"):
        trial.Request.of(region).answer(survey.survey(region))


@pytest.mark.parametrize("case", ["full", "full already"])
def test_a_network_that_finds_no_room_later_is_short_of_memory(
    case: str, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In fp32, for a tile that overflows; what is short of memory is halved, or fails with a sentence."""
    engine = small.planned(small.tiny_region(tmp_path, weights)).engine
    network.forget()
    failing(monkeypatch, FAULTS[case][0])
    with pytest.raises(MemoryError, match="cpu has no room for the network"):
        network.predictor(engine)
