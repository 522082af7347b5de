"""Render scenes to files: ``python -m pipeline.render --help``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.render.files import (
    CORNERS,
    Encoding,
    Place,
    check_format,
    missing,
    write_footprints,
    write_image,
    write_mask,
)
from pipeline.render.scene import Scene, render
from pipeline.render.style import STYLES
from pipeline.render.view import View
from pipeline.render.world import World


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    p = argparse.ArgumentParser(
        prog="python -m pipeline.render", description="Render aerial scenes with known footprints."
    )
    p.add_argument("output", type=Path, nargs="+", help="GeoTIFFs; several are neighbours from west to east")
    p.add_argument("--seed", type=int, default=0, help="of the world: equal seeds give equal worlds (default 0)")
    p.add_argument("--style", default="auto", help=f"auto, {', '.join(STYLES)} (default auto: by the seed)")
    p.add_argument(
        "--size", type=int, nargs=2, default=(1024, 1024), metavar=("HEIGHT", "WIDTH"), help="px of each scene"
    )
    p.add_argument("--at", type=int, nargs=2, default=(0, 0), metavar=("ROW", "COL"), help="first pixel in the world")
    p.add_argument("--pixel", type=float, default=0.3, help="ground resolution, m (default 0.3)")
    p.add_argument("--crs", default="EPSG:32633", help="of the output (default EPSG:32633)")
    p.add_argument(
        "--origin", type=float, nargs=2, default=(500000.0, 5500000.0), metavar=("X", "Y"), help="of the world"
    )
    p.add_argument("--compress", default="deflate", help="deflate or jpeg (default deflate)")
    p.add_argument("--quality", type=int, default=85, help="of JPEG (default 85)")
    p.add_argument("--nodata", type=int, help="value and tag of pixels without data (default: a mask in the file)")
    p.add_argument("--corner", default="none", help=f"corner of the last scene without data: {', '.join(CORNERS)}")
    p.add_argument("--truth", type=Path, help="footprints of all scenes together, cut to what is seen")
    p.add_argument("--dissolve", action="store_true", help="in the truth, buildings that share walls are one footprint")
    p.add_argument("--mask", action="store_true", help="also NAME_mask.tif beside each scene, 0 and 255")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Render what the arguments ask for; the exit code."""
    try:
        _run(parser().parse_args(arguments))
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _run(args: argparse.Namespace) -> None:
    world, place = World(args.seed, args.style), Place(args.crs, *args.origin)
    if args.truth:
        check_format(args.truth)
    (row, col), (height, width), last = args.at, args.size, len(args.output) - 1
    found, seen = [], []
    for number, path in enumerate(args.output):
        view = View(row, col + number * width, height, width, args.pixel)
        corner = args.corner if number == last else "none"
        encoding = Encoding(args.compress, args.quality, args.nodata, corner)
        scene = render(world, view)
        _write(path, scene, view, place, encoding)
        if args.mask:
            write_mask(path.with_name(f"{path.stem}_mask.tif"), scene, view, place)
        found.append(scene.footprints)
        seen.append(shapely.difference(view.polygon, missing(view, corner)))
        print(f"{path}: {height} x {width} px, {len(scene.footprints)} buildings")
    if args.truth:
        footprints = together(found, seen)
        write_footprints(args.truth, dissolved(footprints) if args.dissolve else footprints, place)


def _write(path: Path, scene: Scene, view: View, place: Place, encoding: Encoding) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, scene, view, place, encoding)


def dissolved(footprints: NDArray[np.object_]) -> NDArray[np.object_]:
    """Buildings that touch within a centimetre made one, which is all that a picture can tell of a terrace."""
    grown = shapely.buffer(footprints, 0.005, join_style="mitre")
    parts = shapely.get_parts(shapely.union_all(grown))
    shrunk = shapely.get_parts(shapely.buffer(parts, -0.005, join_style="mitre"))
    return np.asarray(shapely.get_parts(shapely.set_precision(shrunk, 0.001)), object)


def together(found: Sequence[NDArray[np.object_]], seen: Sequence[shapely.Geometry]) -> NDArray[np.object_]:
    """Footprints of several scenes, each building once, cut to what the scenes show, without pieces under 1 m²."""
    every = np.concatenate(found)
    _, first = np.unique(shapely.to_wkb(every), return_index=True)
    cut = shapely.intersection(every[np.sort(first)], shapely.union_all(list(seen)))
    parts = shapely.get_parts(cut)
    return np.asarray(parts[(shapely.get_type_id(parts) == 3) & (shapely.area(parts) >= 1)], object)


if __name__ == "__main__":
    sys.exit(main())
