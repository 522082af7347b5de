"""Which network a state dict belongs to, told by the names and shapes of its tensors. No torch here."""

from collections.abc import Iterable, Mapping

Shapes = Mapping[str, tuple[int, ...]]

PREFIXES = ("module.", "model.")
# ^ what nn.DataParallel and Lightning put before every name
OPTIONAL = (".num_batches_tracked",)
# ^ endings of tensors that a file may lack: torch counts batches since 0.4 only, and nothing of ours reads it


def prefix_of(names: Iterable[str]) -> str:
    """The prefix that a wrapper put before every name; empty when there is none."""
    names = list(names)
    return next((prefix for prefix in PREFIXES if names and all(name.startswith(prefix) for name in names)), "")


def rename(name: str, _names: Iterable[str]) -> str:
    """Our name of the tensor."""
    return name


def recognise(shapes: Shapes) -> tuple[str, dict[str, int]] | None:
    """(catalogue name, options) of the network that tensors of these names and shapes belong to; None when unknown."""
    if "conv3s.weight" in shapes and len(shapes.get("final.weight", ())) == 4:
        return "ternausnet11", {"filters": shapes["final.weight"][1]}
    return None
