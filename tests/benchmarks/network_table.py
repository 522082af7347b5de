"""The networks and what is known of them, every figure derived or measured here.

python -m tests.benchmarks.network_table
"""

import torch
from torch import nn

from models.catalogue import CATALOGUE, build
from models.cost import flops_per_pixel, parameters
from models.reach import reach
from tests.models.network_references import REFERENCES

COLUMNS = (
    "network",
    "parameters",
    "stride",
    "reach",
    "worst pixel",
    "halo",
    "FLOP per pixel",
    "reference",
    "max Δ",
)


def difference(name: str, network: nn.Module) -> float:
    """Largest difference of the logits to the reference's, on noise, with the same weights."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 2 * CATALOGUE[name].stride, 3 * CATALOGUE[name].stride)
    with torch.inference_mode():
        return float((network(x) - REFERENCES[name][1](network.state_dict())(x)).abs().max())


def row(name: str) -> tuple[str, ...]:
    """The table's row of one network."""
    with torch.device("meta"):
        found, flops = reach(build(name)), flops_per_pixel(build(name))
    network = build(name).eval()
    pairs = ((found.before, found.after), (found.worst_before, found.worst_after), found.halo)
    reaches = (f"{before} / {after}" for before, after in pairs)
    reference, equal = REFERENCES[name][0], f"{difference(name, network):g}"
    return (name, f"{parameters(network):,}", str(found.stride), *reaches, f"{flops:,}", reference, equal)


def main() -> None:
    """Print the table in Markdown."""
    for line in (COLUMNS, ["---"] * len(COLUMNS), *map(row, CATALOGUE)):
        print("|", " | ".join(line), "|")


if __name__ == "__main__":
    main()
