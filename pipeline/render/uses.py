"""What a block can be used for."""

from collections.abc import Callable

from pipeline.render import housing, open_land, works
from pipeline.render.blocks import Block

_HOUSING = (housing.detached, housing.narrow, housing.terrace, housing.perimeter, housing.infill, housing.shacks)
_WALLED = (housing.compound, housing.slabs)
_WORKS = (works.halls, works.retail, works.parking, works.farm, works.greenhouses)
_OPEN = (open_land.park, open_land.wood, open_land.field, open_land.bare, open_land.sport, open_land.water)

USES: dict[str, Callable[[Block], None]] = {use.__name__: use for use in (*_HOUSING, *_WALLED, *_WORKS, *_OPEN)}
"""Every use by its name in ``style.Style.uses``."""
