"""The one module that imports torchvision, and cures the one fault that it is known for.

Where torch is a CPU-only build, the torchvision wheel of PyPI cannot load its compiled operators and fails to import
(``operator torchvision::nms does not exist``). Declaring the schemas of those it looks up at import is enough: nothing
here calls them. To be removed when torchvision imports without its operators.
"""

import sys

import torch

# A torch library keeps its declarations only as long as it lives.
_declared: list[torch.library.Library] = []


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _declared.append(library)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


try:
    import torchvision
except RuntimeError:
    if torch.version.cuda is not None:
        raise
    _declare_operators()
    import torchvision

from torchvision.transforms import v2  # noqa: E402 - after the cure

__all__ = ["torchvision", "v2"]
