"""The networks by name, with the facts that a plan needs. No torch here, so that a driver can plan without importing it.

``models.reach`` derives stride and reach from each network itself; the contract tests hold this table to it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Network:
    """What is known of a network before it is built."""

    name: str
    """As in ``model.name`` of a region.yaml."""
    factory: str
    """``module:class`` inside this package."""
    stride: int
    """Sides of its input are multiples of it, px."""
    before: int
    """Exact reach up and left of a block whose edges lie on the stride, px."""
    after: int
    """Exact reach down and right of such a block, px."""


CATALOGUE = {
    network.name: network
    for network in (
        Network("ternausnet11", "ternausnet:TernausNet11", stride=32, before=128, after=160),
    )
}
