"""Which device is meant, on machines with none and with several."""

import pytest
import torch

from pipeline.device import device_of
from pipeline.errors import InputError


def machine_with(gpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)


@pytest.mark.parametrize(
    ("gpus", "wanted", "own", "device"),
    [
        (0, "auto", None, "cpu"),
        (0, "auto", 3, "cpu"),
        (0, "cpu", None, "cpu"),
        (2, "cpu", 1, "cpu"),
        (2, "auto", None, "cuda"),
        (2, "cuda", None, "cuda"),
        (2, "auto", 1, "cuda:1"),
        (2, "cuda", 1, "cuda:1"),
        (2, "cuda:0", 1, "cuda:0"),
    ],
)
def test_what_is_meant(gpus: int, wanted: str, own: int | None, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(gpus, monkeypatch)
    assert device_of("device", wanted, own) == device


@pytest.mark.parametrize(
    ("gpus", "wanted", "own", "sentence"),
    [
        (2, "gpu", None, "device: 'gpu' is not a device; use auto, cpu, cuda or cuda:N"),
        (2, "cuda:", None, "device: 'cuda:' is not a device; use auto, cpu, cuda or cuda:N"),
        (0, "cuda", None, "device: cuda, but torch sees no GPU; use auto or cpu"),
        (0, "cuda:1", None, "device: cuda:1, but torch sees no GPU; use auto or cpu"),
        (1, "cuda:1", None, "device: cuda:1, but torch sees 1 GPU, numbered from 0"),
        (2, "auto", 2, "device: cuda:2, but torch sees 2 GPUs, numbered from 0"),
    ],
)
def test_what_is_no_device_or_not_there_is_told(
    gpus: int, wanted: str, own: int | None, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_with(gpus, monkeypatch)
    with pytest.raises(InputError) as caught:
        device_of("device", wanted, own)
    assert caught.value.problems == (sentence,)
