"""Reading scenes and storing samples, alone: ``python -m tests.benchmarks.raster_speed [--side 5000]``.

Blocks are those of the plan, one after the other by one thread; the scene is a texture as a deflated GeoTIFF, the
samples are what the null network makes of it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline import pixels, store
from pipeline.tasks import infer, read
from tests.benchmarks.speed import help_along, untrained

REPEAT = 5


def stages(folder: Path, side: int) -> dict[str, Callable[[], None]]:
    """What is done to each block in turn, by name."""
    help_along()
    from small import planned, texture, write_region, write_scene  # noqa: PLC0415

    write_scene(folder / "scene.tif", texture((side, side)))
    weights = untrained("contrast", folder)
    plan = planned(write_region(folder, weights, ["scene.tif"], model={"name": "contrast", "weights": str(weights)}))
    store.create(plan.probabilities, plan.grid, plan.mosaic.affine, plan.mosaic.crs)
    samples = {block: infer(read(block)).values for block in plan.blocks()}

    def read_tiles() -> None:
        for scene in plan.mosaic.scenes:
            pixels._handles.forget(scene)  # and with it what GDAL has of it in its cache
        for block in plan.blocks():
            pixels.read(plan.mosaic, plan.grid.tile(block).clip(plan.mosaic.shape))

    def write_blocks() -> None:
        for block, values in samples.items():
            store.write_block(plan.probabilities, plan.grid, block, values)

    def read_blocks() -> None:
        for block in plan.blocks():
            store.read(plan.probabilities, plan.grid.window(block), plan.grid)

    return {"read tiles": read_tiles, "store samples": write_blocks, "read samples": read_blocks}


def main() -> None:
    """Print one line for each stage: the fastest of some goes, after one that is not counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=5000)
    side = parser.parse_args().side
    print(f"{side}² px, fastest of {REPEAT}\n{'':>16}{'wall s':>9}{'CPU s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for name, stage in stages(Path(folder), side).items():
            wall, cpu = fastest(stage)
            print(f"{name:>16}{wall:9.3f}{cpu:9.3f}")


def fastest(stage: Callable[[], None]) -> tuple[float, float]:
    """Wall and processor seconds."""
    goes = []
    for _ in range(1 + REPEAT):
        wall, cpu = time.perf_counter(), time.process_time()
        stage()
        goes.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(goes[1:])


if __name__ == "__main__":
    main()
