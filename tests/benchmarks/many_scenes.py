"""Time and memory by the number of scenes, null network: ``python -m tests.benchmarks.many_scenes [1 4 16 64]``.

Scenes lie side by side in a square and make one mosaic; each is one block. What grows with the region shows here.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from affine import Affine

from tests.benchmarks.speed import Cost, help_along, run, untrained


def prepare(folder: Path, scenes: int, side: int) -> Path:
    """So many scenes in a square, and their region.yaml."""
    help_along()
    from small import AFFINE, texture, write_region, write_scene  # noqa: PLC0415

    weights = untrained("contrast", folder)
    pixels, across = texture((side, side)), round(scenes**0.5)
    for number in range(scenes):
        row, col = divmod(number, across)
        write_scene(folder / f"scenes/{number:03}.tif", pixels, AFFINE @ Affine.translation(col * side, row * side))
    keys = {"inference": {"precision": "fp32", "device": "cpu"}, "tiles": {"size": -(-side // 32) * 32, "halo": 0}}
    return write_region(folder, weights, ["scenes/*.tif"], **keys)


def measure(scenes: int, side: int) -> Cost:
    """One run of so many scenes."""
    with tempfile.TemporaryDirectory() as folder:
        region = prepare(Path(folder), scenes, side)
        return run(sys.executable, "-m", "pipeline.run", str(region), "--quiet", "--set", "model.name=contrast")


def main() -> None:
    """One line for each number of scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=int, nargs="*", default=[1, 4, 16, 64])
    parser.add_argument("--side", type=int, default=2048)
    options = parser.parse_args()
    print(f"null network, scenes of {options.side}² px")
    print(f"{'scenes':>8}{'wall s':>9}{'CPU s':>9}{'s/scene':>9}{'peak MiB':>10}")
    for scenes in options.scenes:
        cost = measure(scenes, options.side)
        each = cost.wall / scenes
        print(f"{scenes:8}{cost.wall:9.1f}{cost.cpu:9.1f}{each:9.2f}{cost.peak / 2**20:10.0f}", flush=True)


if __name__ == "__main__":
    main()
