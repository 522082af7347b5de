"""Pixels computed for each one wanted, by memory limit: TernausNet11 in bf16, in patches and in whole layers.

python -m tests.benchmarks.budget_table
"""

import time

from models.catalogue import CATALOGUE
from tiling.budget import best_block, computed

RASTERS = ((5000, 5000), (20_000, 20_000), (100_000, 37_000), (1_000_000, 1_000_000))
LIMITS = (1, 2, 4, 6)  # GiB for a tile
BYTES = {"in patches": 148, "whole layers": 690}


def main() -> None:
    """Print one table."""
    facts = CATALOGUE["ternausnet11"]
    halo = (facts.before, facts.after)
    print(f"{'raster':>20}{'GiB':>5}{'':>14}{'block':>14}{'computed ÷ wanted':>19}{'ms':>7}")
    for shape in RASTERS:
        for limit in LIMITS:
            for name, size in BYTES.items():
                started = time.process_time()
                block = best_block(shape, facts.stride, halo, (limit << 30) // size)
                spent = (time.process_time() - started) * 1e3
                ratio = computed(shape, block, facts.stride, halo) / (shape[0] * shape[1])
                sides = (f"{rows} × {cols}" for rows, cols in (shape, block))
                print(f"{next(sides):>20}{limit:5}{name:>14}{next(sides):>14}{ratio:19.3f}{spent:7.1f}")


if __name__ == "__main__":
    main()
