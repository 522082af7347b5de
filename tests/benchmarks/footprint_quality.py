"""How good the outlines are on the Banepa block: raw, simplified, squared, divided, against OpenStreetMap's footprints.

    python -m tests.benchmarks.footprint_quality [folder for pictures]

Two inputs stand for probabilities: the truth's own mask, and the footprints drawn back from their walls and blurred, as
a network that sees party walls gives them. The truth itself is clipped to the block.
"""

import sys
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import rasterio
import shapely
from rasterio.features import rasterize
from scipy import ndimage

from pipeline.evaluation.objects import compare
from pipeline.footprints import finish, outline, weld
from pipeline.footprints.ground import Frame
from pipeline.footprints.shaping import Shaping
from tests.benchmarks.footprint_speed import blocks_of

DATA = Path(__file__).parents[2] / "../shared/data/oam_banepa_nepal"
LEVEL = 127
FORMS = {
    "raw": {"simplify": 0.0, "min_hole": 0.0},
    "simplified": {},
    "squared": {"square": True},
    "divided": {"split": True},
    "divided, squared": {"split": True, "square": True},
}


def truth(raster: rasterio.DatasetReader) -> np.ndarray:
    """The footprints in mosaic pixels, clipped to the raster."""
    found = geopandas.read_file(DATA / "banepa_labelled_footprints.geojson").to_crs(raster.crs).geometry.values
    pixels = shapely.transform(
        shapely.force_2d(found), lambda xy: np.stack(~raster.transform @ (xy.T[0], xy.T[1]), axis=1)
    )
    clipped = shapely.intersection(shapely.make_valid(pixels), shapely.box(0, 0, raster.width, raster.height))
    return clipped[shapely.area(clipped) > 0]


def drawn_back(footprints: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Probabilities of a network that sees walls: each footprint shrunk by half a pixel, antialiased, blurred."""
    fine = shapely.transform(shapely.buffer(footprints, -0.5, join_style="mitre"), lambda xy: xy * 4)
    kept = [polygon for polygon in fine if not polygon.is_empty]
    grid = rasterize(kept, (shape[0] * 4, shape[1] * 4), dtype="uint8")
    coarse = grid.reshape(shape[0], 4, shape[1], 4).mean(axis=(1, 3))
    return np.clip(np.rint(ndimage.gaussian_filter(coarse, 0.6) * 254), 0, 254).astype(np.uint8)


def finished(samples: np.ndarray, frame: Frame, shaping: Shaping, folder: Path) -> pa.RecordBatch:
    """Footprints of the whole block."""
    ((block, window, padded),) = blocks_of(samples, 1 << 20)
    outline.trace(padded, window, shaping.level).save(folder / "outlines.arrow")
    index = weld.weld([(block, folder / "outlines.arrow")], folder / "welded.arrow")

    def read(part):
        return samples[part.slices]

    files = finish.Files({block: folder / "outlines.arrow"}, folder / "welded.arrow", read)
    return finish.finish(index.sources(block), files, frame, shaping)


def picture(
    path: Path, layers: list[tuple[np.ndarray, str, float]], image: np.ndarray, places: list[tuple[int, int]]
) -> None:
    """Outlines over the scene at some places, 260 px a side."""
    import matplotlib as mpl  # noqa: PLC0415 - only for pictures

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, len(places), figsize=(11 * len(places), 11))
    for axis, (x, y) in zip(axes, places, strict=True):
        axis.imshow(image, extent=(0, image.shape[1], image.shape[0], 0))
        for polygons, colour, width in layers:
            for ring in shapely.get_rings(polygons[shapely.intersects(polygons, shapely.box(x, y, x + 260, y + 260))]):
                axis.plot(*shapely.get_coordinates(ring).T, color=colour, linewidth=width)
        axis.set_xlim(x, x + 260)
        axis.set_ylim(y + 260, y)
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=60)
    plt.close(figure)


def main(folder: Path) -> None:
    """Print the table, and draw."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        rasterio.open(DATA / "banepa_labelled_0p26m_mask.tif") as raster,
        rasterio.open(DATA / "banepa_labelled_0p26m.tif") as scene,
    ):
        mask, image, footprints = raster.read(1), np.moveaxis(scene.read([1, 2, 3]), 0, -1), truth(raster)
        frame = Frame(raster.transform, raster.crs.to_wkt(), ("banepa.tif",))
    scale = float(frame.metres(np.array([[mask.shape[1] / 2, mask.shape[0] / 2]])).mean())
    ground = shapely.transform(footprints, lambda xy: xy * scale)
    union = shapely.union_all(ground)
    inputs = {"mask": np.where(mask > 0, 254, 0).astype(np.uint8), "drawn back": drawn_back(footprints, mask.shape)}
    print(f"{len(ground)} footprints; {scale:.4f} m per pixel")
    print(f"{'input':<12}{'form':<18}{'count':>7}{'IoU':>8}{'F1@0.5':>8}{'PoLiS m':>9}{'vertices':>10}")
    for name, samples in inputs.items():
        forms = {}
        for form, options in FORMS.items():
            batch = finished(samples, frame, Shaping(LEVEL, **options), folder)
            placed = shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False))
            pixels = shapely.transform(placed, lambda xy: np.stack(~frame.affine @ (xy.T[0], xy.T[1]), axis=1))
            forms[form] = pixels
            found = shapely.transform(pixels, lambda xy: xy * scale)
            whole = shapely.union_all(found)
            iou = whole.intersection(union).area / whole.union(union).area
            objects = compare(found, ground)
            vertices = shapely.get_num_coordinates(found).mean()
            polis = np.mean(objects.polis)
            print(
                f"{name:<12}{form:<18}{len(found):>7}{iou:>8.4f}{objects.f1:>8.3f}{polis:>9.3f}{vertices:>10.1f}",
                flush=True,
            )
        layers = [
            (footprints, "deepskyblue", 0.8),
            (forms["simplified"], "yellow", 1.0),
            (forms["divided, squared"], "red", 1.6),
        ]
        picture(folder / f"banepa-{name.replace(' ', '-')}.png", layers, image, [(300, 300), (700, 1000)])


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "footprint-pictures"))
