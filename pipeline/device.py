"""Which device a network runs on: the one that is asked for, if torch sees it."""

import re

from pipeline.errors import InputError
from pipeline.words import counted

PATTERN = r"auto|cpu|cuda(:\d{1,3})?"
RULE = "is not a device; use auto, cpu, cuda or cuda:N"


def device_of(key: str, wanted: str, own: int | None = None) -> str:
    """cpu, cuda or cuda:N, as torch takes it: what ``wanted`` means here; auto is CUDA where torch sees a GPU.

    ``key`` is the setting that asks for it. A GPU without a number is number ``own``; None: torch's current one.

    Raises:
        InputError: it is no device, or torch sees no such GPU.
    """
    import torch  # noqa: PLC0415 - the driver, which knows ``PATTERN``, plans without it

    if not re.fullmatch(PATTERN, wanted):
        raise InputError(f"{key}: {wanted!r} {RULE}")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cpu" or (wanted == "auto" and not there):
        return "cpu"
    if not there:
        raise InputError(f"{key}: {wanted}, but torch sees no GPU; use auto or cpu")
    device = wanted if ":" in wanted else "cuda" if own is None else f"cuda:{own}"
    if int(device.partition(":")[2] or 0) >= there:
        raise InputError(f"{key}: {device}, but torch sees {counted(there, 'GPU')}, numbered from 0")
    return device
