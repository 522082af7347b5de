"""Named bad input, at least one for each kind that must be refused: how it is made, and the sentences it must get.

A case writes files into an empty folder and returns the text of the region.yaml after its name. ``{}`` in a sentence
stands for the folder, ``{size}`` for the size of its a.tif.
"""

import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagery
import numpy as np
import pyogrio
import rasterio
import rasterio.shutil
import shapely
import tiffs
from affine import Affine
from rasterio.control import GroundControlPoint


@dataclass(frozen=True)
class Case:
    """One piece of bad input."""

    make: Callable[[Path], str]
    """Writes it; returns the YAML."""
    sentences: tuple[str, ...]
    """What the user is told, in order."""


CASES: dict[str, Case] = {}
SCENE = "scenes: [a.tif]"


def case(*sentences: str) -> Callable[[Callable[[Path], str | Path | bytes | None]], Callable[..., Any]]:
    """Register a function as a case: it returns YAML, or the bytes of a.tif, or nothing when it wrote a.tif itself."""

    def register(make: Callable[[Path], str | Path | bytes | None]) -> Callable[..., Any]:
        def write(folder: Path) -> str:
            made = make(folder)
            if isinstance(made, bytes):
                (folder / "a.tif").write_bytes(made)
            return made if isinstance(made, str) else SCENE

        CASES[make.__name__] = Case(write, sentences)
        return make

    return register


def sound(folder: Path, name: str = "a.tif", **profile: Any) -> Path:
    """A scene with nothing wrong."""
    return imagery.write(folder / name, imagery.noise(40, 50), **profile)


def cut(path: Path, size: int) -> bytes:
    """The first bytes of a file, or all but the last."""
    return path.read_bytes()[:size]


# Not a TIFF at all


@case("{}/a.tif: is empty")
def empty_file(folder: Path) -> bytes:
    return b""


@case("{}/a.tif: is not a TIFF: it has only 7 bytes")
def seven_bytes(folder: Path) -> bytes:
    return b"II*\0\x08\0\0"


def _not_a_tiff(name: str, head: bytes, what: str) -> None:
    def make(folder: Path) -> bytes:
        return head + bytes(64)

    make.__name__ = name
    case(f"{{}}/a.tif: is {what}, not a TIFF; convert it: gdal_translate -of GTiff")(make)


_not_a_tiff("png", b"\x89PNG\r\n\x1a\n", "a PNG")
_not_a_tiff("jpeg", b"\xff\xd8\xff\xe0", "a JPEG")
_not_a_tiff("jpeg_2000", b"\0\0\0\x0cjP  ", "a JPEG 2000")
_not_a_tiff("gzip", b"\x1f\x8b\x08", "gzip-compressed")
_not_a_tiff("hdf5", b"\x89HDF\r\n\x1a\n", "an HDF5 file")
_not_a_tiff("html_error_page", b"<!DOCTYPE html><title>404</title>", "XML or HTML")
_not_a_tiff(
    "lfs_pointer", b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer, whose file was not fetched"
)
_not_a_tiff("prose", b"Not an image", "something else")
_not_a_tiff("geopackage", b"SQLite format 3\0", "an SQLite file (GeoPackage?)")
_not_a_tiff("wrong_version", b"II\x2c\0\x08\0\0\0", "something else")


@case("{}/a.tif: is a ZIP archive, not a TIFF; convert it: gdal_translate -of GTiff")
def zip_archive(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.tif", "w") as archive:
        archive.write(sound(folder, "b.tif"))


@case("{}/a.tif: is a VRT, which points to other files, not a TIFF; convert it: gdal_translate -of GTiff")
def vrt_hidden_as_tif(folder: Path) -> bytes:
    rasterio.shutil.copy(sound(folder, "b.tif"), folder / "a.vrt", driver="VRT")
    return (folder / "a.vrt").read_bytes()


# Truncated, or with tables that lie


@case("{}/a.tif: is truncated: 17 of 20 blocks lie beyond its end at byte 1,600; copy it again")
def truncated_strips(folder: Path) -> bytes:
    return cut(sound(folder, "b.tif", blockysize=2), 1600)


@case("{}/a.tif: is truncated: 8 of 12 blocks lie beyond its end at byte 4,000; copy it again")
def truncated_tiles(folder: Path) -> bytes:
    return cut(sound(folder, "b.tif", tiled=True, blockxsize=16, blockysize=16), 4000)


@case("{}/a.tif: is truncated: 1 of 1 blocks lie beyond its end at byte 3,000; copy it again")
def truncated_bigtiff(folder: Path) -> bytes:
    return cut(sound(folder, "b.tif", BIGTIFF="YES"), 3000)


@case("{}/a.tif: is truncated: its directory ends at byte 22, the file at 20; copy it again")
def truncated_directory(folder: Path) -> bytes:
    return cut(sound(folder, "b.tif"), 20)


@case("{}/a.tif: is truncated: its header ends at byte 16, the file at 12; copy it again")
def truncated_header(folder: Path) -> bytes:
    return cut(sound(folder, "b.tif", BIGTIFF="YES"), 12)


@case("{}/a.tif: is truncated: 1 of 1 blocks lie beyond its end at byte {size}; copy it again")
def truncated_overview(folder: Path) -> bytes:
    with rasterio.open(sound(folder, "b.tif", compress="deflate"), "r+") as file:
        file.build_overviews([2])
    return cut(folder / "b.tif", -20)


@case("{}/a.tif: is truncated: 1 of 1 blocks lie beyond its end at byte {size}; copy it again")
def truncated_mask(folder: Path) -> bytes:
    mask = np.random.default_rng(1).random((40, 50)) < 0.5
    return cut(imagery.write(folder / "b.tif", imagery.noise(40, 50), mask=mask), -20)


@case("{}/a.tif: has no directory: it was not written to its end")
def writing_was_interrupted(folder: Path) -> bytes:
    return b"II*\0" + bytes(100)


@case("{}/a.tif: has directories in a loop")
def directories_in_a_loop(folder: Path) -> bytes:
    return tiffs.build(tiffs.rgb(4, 4, 4, [8], [48]), bytes(48), following=56)


@case("{}/a.tif: has more than 64 directories")
def endless_directories(folder: Path) -> bytes:
    chain = b"".join(struct.pack("<HI", 0, 8 + 6 * (number + 1)) for number in range(100))
    return b"II*\0" + struct.pack("<I", 8) + chain


@case("{}/a.tif: has a directory of 65,535 tags; the limit is 1,000")
def directory_of_noise(folder: Path) -> bytes:
    return b"II*\0\x08\0\0\0\xff\xff" + bytes(100)


@case("{}/a.tif: has no pixels: 0 × 40 px in blocks of 0 × 40")
def zero_width(folder: Path) -> None:
    tiffs.change(sound(folder), tiffs.WIDTH, 0)


@case("{}/a.tif: has no pixels: 50 × 40 px in blocks of 0 × 16")
def zero_tile(folder: Path) -> None:
    tiffs.change(sound(folder, tiled=True, blockxsize=16, blockysize=16), tiffs.TILE_WIDTH, 0)


@case("{}/a.tif: has no usable block table; write it again: gdal_translate")
def no_offsets(folder: Path) -> None:
    tiffs.rename(sound(folder), tiffs.STRIP_OFFSETS, 60_000)


@case("{}/a.tif: has no usable block table; write it again: gdal_translate")
def no_counts(folder: Path) -> None:
    tiffs.rename(sound(folder), tiffs.STRIP_COUNTS, 60_000)


@case("{}/a.tif: lists 1 of its 4 blocks; write it again: gdal_translate")
def too_few_blocks(folder: Path) -> bytes:
    return tiffs.build(tiffs.rgb(4, 4, 1, [8], [48]), bytes(48))


@case("{}/a.tif: is truncated: 1 of 1 blocks lie beyond its end at byte {size}; copy it again")
def offset_beyond_the_end(folder: Path) -> bytes:
    return tiffs.build(tiffs.rgb(4, 4, 4, [0xFFFFFFF0], [48]), bytes(48))


@case("{}/a.tif: is truncated: 1 of 1 blocks lie beyond its end at byte {size}; copy it again")
def sum_that_overflows(folder: Path) -> bytes:
    tags = tiffs.rgb(4, 4, 4, [8], [48])
    huge = {tiffs.STRIP_OFFSETS: (tiffs.LONG8, [2**64 - 8]), tiffs.STRIP_COUNTS: (tiffs.LONG8, [48])}
    return tiffs.build(tags | huge, bytes(48), big=True)


@case("{}/a.tif: has uncompressed blocks that are too short for their pixels; copy it again")
def blocks_too_short(folder: Path) -> bytes:
    return tiffs.build(tiffs.rgb(4, 4, 4, [8], [20]), bytes(48))


# Bombs


@case("{}/a.tif: claims 300,000 × 300,000 px; the limit is 40,000,000,000 px a file: split it")
def pixel_bomb(folder: Path) -> None:
    profile = {"tiled": True, "blockxsize": 512, "blockysize": 512, "SPARSE_OK": "TRUE", "BIGTIFF": "YES"}
    imagery.create(folder / "a.tif", 300_000, 300_000, compress="deflate", **profile)


@case("{}/a.tif: has blocks of 457 MiB decoded; the limit is 256 MiB: write it tiled: gdal_translate -co TILED=YES")
def strip_bomb(folder: Path) -> bytes:
    return tiffs.build(tiffs.rgb(20_000, 8_000, 8_000, [8], [48]) | {tiffs.COMPRESSION: (tiffs.SHORT, [8])}, bytes(48))


@case("{}/a.tif: has blocks of 1,200 MiB decoded; the limit is 256 MiB: write it tiled: gdal_translate -co TILED=YES")
def tile_bomb(folder: Path) -> None:
    path = sound(folder, tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    tiffs.change(tiffs.change(path, tiffs.TILE_WIDTH, 20_480), tiffs.TILE_HEIGHT, 20_480)


@case("{}/a.tif: has 6,250,000 blocks; the limit is 4,000,000: write it tiled")
def block_table_bomb(folder: Path) -> None:
    path = imagery.write(folder / "a.tif", imagery.noise(70, 70), tiled=True, blockxsize=16, blockysize=16)
    tiffs.change(tiffs.change(path, tiffs.WIDTH, 40_000), tiffs.HEIGHT, 40_000)


# Not a file, not there, not here


@case("{}/a.tif: no such file")
def no_such_file(folder: Path) -> None:
    pass


@case("{}/s: this folder holds no .tif or .tiff")
def folder_without_scenes(folder: Path) -> str:
    (folder / "s").mkdir()
    (folder / "s/a.png").touch()
    return "scenes: [s]"


@case("{}/s/*.tif: no file matches this pattern")
def pattern_without_match(folder: Path) -> str:
    return "scenes: ['s/*.tif']"


@case("{}/a.tif: is not a regular file")
def named_pipe(folder: Path) -> None:
    os.mkfifo(folder / "a.tif")


@case("{}/s/a.tif: is not a regular file")
def folder_named_as_a_scene(folder: Path) -> str:
    (folder / "s/a.tif").mkdir(parents=True)
    return "scenes: [s]"


@case("{}/a.tif: cannot be read: No such file or directory")
def dangling_link(folder: Path) -> None:
    (folder / "a.tif").symlink_to("nowhere.tif")


@case("{}/a.tif: cannot be read: Too many levels of symbolic links")
def link_to_itself(folder: Path) -> None:
    (folder / "a.tif").symlink_to("a.tif")


@case("http://data.example.org/a.tif: is not encrypted, and whoever sits between could change it; write https://")
def unencrypted(folder: Path) -> str:
    return "scenes: ['http://data.example.org/a.tif']\nremote: [data.example.org]"


LOCAL = "is no local file; scenes are files, folders, globs, or https:// addresses of hosts that remote lists"


@case(f"/vsicurl/http://127.0.0.1:9/a.tif: {LOCAL}")
def vsicurl(folder: Path) -> str:
    return "scenes: [/vsicurl/http://127.0.0.1:9/a.tif]\nremote: [127.0.0.1]"


@case(f"/vsizip/vsicurl/http://127.0.0.1:9/a.zip/a.tif: {LOCAL}")
def vsizip_of_vsicurl(folder: Path) -> str:
    return "scenes: [/vsizip/vsicurl/http://127.0.0.1:9/a.zip/a.tif]"


@case(f"s3://bucket/a.tif: {LOCAL}")
def bucket(folder: Path) -> str:
    return "scenes: ['s3://bucket/a.tif']"


@case(f"file:///etc/passwd: {LOCAL}")
def file_url(folder: Path) -> str:
    return "scenes: ['file:///etc/passwd']"


@case(
    "https://data.example.org/a.tif: is on data.example.org, which remote does not list; to allow it: "
    "remote: [data.example.org]"
)
def host_not_listed(folder: Path) -> str:
    return "scenes: ['https://data.example.org/a.tif']"


SECRETS = "carries a user, a query or a fragment; addresses end up in reports, so they must not hold secrets"


@case(f"https://127.0.0.1/a.tif: {SECRETS}")
def host_disguised_as_user(folder: Path) -> str:
    return "scenes: ['https://data.example.org@127.0.0.1/a.tif']\nremote: [data.example.org]"


@case(f"https://data.example.org/a.tif: {SECRETS}", f"https://data.example.org/b.tif: {SECRETS}")
def secrets_in_addresses(folder: Path) -> str:
    scenes = "'https://data.example.org/a.tif?token=s3cret', 'https://me:s3cret@data.example.org/b.tif'"
    return f"scenes: [{scenes}]\nremote: [data.example.org]"


@case(f"https://data.example.org:99999/a.tif: {LOCAL}")
def port_that_is_none(folder: Path) -> str:
    return "scenes: ['https://data.example.org:99999/a.tif']\nremote: [data.example.org]"


@case("{}/GTIFF_DIR:1:a.tif: no such file")
def gdal_s_own_names(folder: Path) -> str:
    sound(folder)
    return "scenes: ['GTIFF_DIR:1:a.tif']"


# Not georeferenced, or not as it must be

CORNERS = "gdal_edit.py -a_ullr <left> <top> <right> <bottom>"


@case("{}/a.tif: has no coordinate reference system; write it into the file: gdal_edit.py -a_srs EPSG:<code>")
def no_crs(folder: Path) -> None:
    sound(folder, crs=None)


@case(f"{{}}/a.tif: has no geotransform; write it into the file: {CORNERS}")
def no_geotransform(folder: Path) -> None:
    sound(folder, transform=None)


@case(
    "{}/a.tif: is not georeferenced; write its place into the file: "
    "gdal_edit.py -a_srs EPSG:<code> -a_ullr <left> <top> <right> <bottom>"
)
def chip_without_place(folder: Path) -> None:
    sound(folder, transform=None, crs=None)


@case("{}/a.tif: is rotated or sheared; rectify it: gdalwarp")
def rotated(folder: Path) -> None:
    sound(folder, transform=imagery.AFFINE @ Affine.rotation(10))


@case("{}/a.tif: is rotated or sheared; rectify it: gdalwarp")
def sheared(folder: Path) -> None:
    sound(folder, transform=imagery.AFFINE @ Affine.shear(3))


@case("{}/a.tif: is rotated or sheared; rectify it: gdalwarp")
def quarter_turn(folder: Path) -> None:
    sound(folder, transform=imagery.AFFINE @ Affine.rotation(90))


@case("{}/a.tif: is south-up (pixel size 0.5 × 0.5); turn it: gdalwarp")
def south_up(folder: Path) -> None:
    sound(folder, transform=Affine(0.5, 0, 500_000, 0, 0.5, 5_300_000))


@case("{}/a.tif: is mirrored (pixel size -0.5 × -0.5); turn it: gdalwarp")
def mirrored(folder: Path) -> None:
    sound(folder, transform=Affine(-0.5, 0, 500_000, 0, -0.5, 5_300_000))


@case("{}/a.tif: has a pixel size of 0 × 0.5; write the right one into the file: gdal_edit.py -tr <x> <y>")
def zero_pixel_size(folder: Path) -> None:
    tiffs.change(sound(folder), 33550, 0.0)


@case("{}/a.tif: has a pixel size of nan × 0.5; write the right one into the file: gdal_edit.py -tr <x> <y>")
def pixel_size_not_a_number(folder: Path) -> None:
    tiffs.change(sound(folder), 33550, float("nan"))


@case(f"{{}}/a.tif: has no geotransform; write it into the file: {CORNERS}")
def pixel_size_without_a_place(folder: Path) -> None:
    tiffs.rename(sound(folder), 33922, 60_000)


@case("{}/a.tif: is truncated: its tag 33922 ends at byte 524,510, the file at {size}; copy it again")
def tie_points_beyond_the_end(folder: Path) -> None:
    path = sound(folder)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, tiffs.entries(content)[1][33922][0] + 4, 65_535)
    path.write_bytes(content)


@case("{}/a.tif: lies at 1e+300, 5.3e+06, which is nowhere on earth; is its geotransform right?")
def nowhere_on_earth(folder: Path) -> None:
    sound(folder, transform=Affine(0.5, 0, 1e300, 0, -0.5, 5_300_000))


@case("{}/a.tif: has pixels of 1e-06, too fine for coordinates like 500000; is its geotransform right?")
def pixels_finer_than_numbers(folder: Path) -> None:
    sound(folder, transform=Affine(1e-6, 0, 500_000, 0, -1e-6, 5_300_000))


@case("{}/a.tif: is placed by ground control points only; rectify it: gdalwarp")
def ground_control_points(folder: Path) -> None:
    path = sound(folder, transform=None, crs=None)
    points = [GroundControlPoint(y, x, 5e5 + x, 5e6 - y) for y in (0, 40) for x in (0, 50)]
    with warnings.catch_warnings(action="ignore"), rasterio.open(path, "r+") as file:
        file.gcps = points, rasterio.crs.CRS.from_epsg(32633)


@case("{}/a.tif: has a coordinate reference system without a place on earth; write the right one: gdal_edit.py -a_srs")
def local_crs(folder: Path) -> None:
    sound(folder, crs='LOCAL_CS["site grid",UNIT["metre",1]]')


@case("{}/a.tif: has a coordinate reference system without a place on earth; write the right one: gdal_edit.py -a_srs")
def geocentric_crs(folder: Path) -> None:
    sound(folder, crs="EPSG:4978")


UTM = "warp it to a projected CRS, e.g. UTM: gdalwarp -t_srs"


@case(f"{{}}/a.tif: crosses the antimeridian (longitudes 179.99 to 180.04); {UTM}")
def across_the_antimeridian(folder: Path) -> None:
    sound(folder, crs="EPSG:4326", transform=Affine(1e-3, 0, 179.99, 0, -1e-3, 50))


@case(f"{{}}/a.tif: crosses the antimeridian (x from 20037500 to 20037550 m); {UTM}")
def across_the_antimeridian_in_mercator(folder: Path) -> None:
    sound(folder, crs="EPSG:3857", transform=Affine(1, 0, 20_037_500, 0, -1, 0))


@case("{}/a.tif and {}/b.tif lie on both sides of the antimeridian; process them as two regions")
def on_both_sides_of_the_antimeridian(folder: Path) -> str:
    sound(folder, crs="EPSG:4326", transform=Affine(1e-3, 0, -179.99, 0, -1e-3, 50))
    sound(folder, "b.tif", crs="EPSG:4326", transform=Affine(1e-3, 0, 179.9, 0, -1e-3, 50))
    return "scenes: [a.tif, b.tif]"


@case(
    "{}/a.tif: has latitudes from 5.29998e+06 to 5.3e+06, beyond ±90; is its coordinate reference system right?",
)
def metres_called_degrees(folder: Path) -> None:
    sound(folder, crs="EPSG:4326", transform=Affine(0.5, 0, 0, 0, -0.5, 5_300_000))


@case(
    "{}/a.tif: has longitudes from 500000 to 500025, beyond ±360; is its coordinate reference system right?",
    "{}/a.tif: has latitudes from 5.29998e+06 to 5.3e+06, beyond ±90; is its coordinate reference system right?",
)
def utm_called_degrees(folder: Path) -> None:
    sound(folder, crs="EPSG:4326")


# Scenes that do not fit together


@case("{}/b.tif and {}/a.tif lie on both sides of the antimeridian; process them as two regions")
def on_both_sides_of_the_antimeridian_in_mercator(folder: Path) -> str:
    sound(folder, crs="EPSG:3857", transform=Affine(0.5, 0, 20_037_400, 0, -0.5, 0))
    sound(folder, "b.tif", crs="EPSG:3857", transform=Affine(0.5, 0, -20_037_500, 0, -0.5, 0))
    return "scenes: [a.tif, b.tif]"


BEYOND = "which does not reach it; choose another grid.crs, or make it a region of its own"


@case(f"{{}}/b.tif: cannot be brought into EPSG:32633, {BEYOND}")
def a_quarter_of_the_earth_away(folder: Path) -> str:
    sound(folder)
    sound(folder, "b.tif", crs="EPSG:4326", transform=Affine(3e-6, 0, 105, 0, -3e-6, 0.1))
    return "scenes: [a.tif, b.tif]\ngrid: {resample: true}"


@case(f"{{}}/a.tif: cannot be brought into EPSG:3857, {BEYOND}")
def the_pole_in_mercator(folder: Path) -> str:
    sound(folder, crs="EPSG:4326", transform=Affine(3e-6, 0, 10, 0, -3e-6, 90))
    return f"{SCENE}\ngrid: {{crs: 'EPSG:3857', resample: true}}"


ENDS = "choose a grid.crs that goes on there, e.g. UTM"
FIJI = {"crs": "EPSG:32701", "transform": Affine(1000, 0, 160_000, 0, -1000, 8_100_000)}


@case(f"{{}}/a.tif: crosses the antimeridian, where EPSG:4326 ends; {ENDS}")
def across_the_antimeridian_of_the_grid(folder: Path) -> str:
    sound(folder, **FIJI)
    return f"{SCENE}\ngrid: {{crs: 'EPSG:4326', resample: true}}"


@case(f"{{}}/a.tif: crosses the antimeridian, where EPSG:3857 ends; {ENDS}")
def across_the_antimeridian_of_a_mercator_grid(folder: Path) -> str:
    sound(folder, **FIJI)
    return f"{SCENE}\ngrid: {{crs: 'EPSG:3857', resample: true}}"


@case(
    f"{{}}/b.tif: crosses the antimeridian, where EPSG:4326 ends; {ENDS}",
    f"{{}}/c.tif: crosses the antimeridian, where EPSG:4326 ends; {ENDS}",
)
def across_the_antimeridian_of_the_first_scene(folder: Path) -> str:
    sound(folder, crs="EPSG:4326", transform=Affine(1e-3, 0, 179.9, 0, -1e-3, -17))
    sound(folder, "b.tif", **FIJI)
    sound(folder, "c.tif", **FIJI)
    return "scenes: [a.tif, b.tif, c.tif]\ngrid: {resample: true}"


@case("scenes: they span 359,775 × 50 px; process distant ones as regions of their own")
def on_both_sides_of_the_antimeridian_of_the_grid(folder: Path) -> str:
    sound(folder, crs="EPSG:4326", transform=Affine(1e-3, 0, 179.85, 0, -1e-3, 0))
    sound(folder, "b.tif", crs="EPSG:32601", transform=Affine(100, 0, 180_000, 0, -100, 1000))
    return "scenes: [a.tif, b.tif]\ngrid: {resample: true}"


RESAMPLE = "set grid.resample: true to resample it"


@case(f"{{}}/b.tif: is in EPSG:32634, but {{}}/a.tif in EPSG:32633; {RESAMPLE}")
def mixed_crs(folder: Path) -> str:
    sound(folder)
    sound(folder, "b.tif", crs="EPSG:32634")
    return "scenes: [a.tif, b.tif]"


@case(f"{{}}/b.tif: has pixels of 0.3 × 0.3, but {{}}/a.tif of 0.5 × 0.5; {RESAMPLE}")
def mixed_resolution(folder: Path) -> str:
    sound(folder)
    sound(folder, "b.tif", transform=Affine(0.3, 0, 500_000, 0, -0.3, 5_300_000))
    return "scenes: [a.tif, b.tif]"


@case(f"{{}}/b.tif: lies 0.40 px off the pixel grid of {{}}/a.tif; {RESAMPLE}")
def mixed_pixel_phase(folder: Path) -> str:
    sound(folder)
    sound(folder, "b.tif", transform=imagery.AFFINE @ Affine.translation(50.4, 0.1))
    return "scenes: [a.tif, b.tif]"


@case("{}/more/a.tif: is named as {}/a.tif, and so would be its mask; rename one, or set probability.masks: false")
def masks_of_scenes_of_one_name(folder: Path) -> str:
    sound(folder)
    (folder / "more").mkdir()
    sound(folder / "more", transform=imagery.AFFINE @ Affine.translation(50, 0))
    return "scenes: [a.tif, more/a.tif]\nprobability: {masks: true}"


@case("grid.crs: 'EPSG:99999' is not a coordinate reference system; write e.g. EPSG:32633")
def unknown_grid_crs(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\ngrid: {{crs: 'EPSG:99999'}}"


@case("grid.crs: EPSG:4978 is neither projected nor geographic; write e.g. EPSG:32633")
def geocentric_grid_crs(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\ngrid: {{crs: 'EPSG:4978', resample: true}}"


@case("grid.crs: EPSG:4326 is not the scenes' own; set grid.resample: true to resample them")
def other_grid_crs(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\ngrid: {{crs: 'EPSG:4326'}}"


@case("scenes: they span 400,000,050 × 400,000,040 px; process distant ones as regions of their own")
def scenes_in_different_countries(folder: Path) -> str:
    sound(folder)
    sound(folder, "b.tif", transform=imagery.AFFINE @ Affine.translation(4e8, 4e8))
    return "scenes: [a.tif, b.tif]"


# Bands and values


@case("{}/a.tif: has 1 band, but pixels.bands is [1, 2, 3]; for grey imagery: pixels.bands: [1, 1, 1]")
def one_band(folder: Path) -> None:
    imagery.write(folder / "a.tif", imagery.noise(9, 9)[..., :1])


@case("{}/a.tif: has 2 bands, but pixels.bands is [1, 2, 3]; for grey imagery: pixels.bands: [1, 1, 1]")
def grey_with_alpha(folder: Path) -> None:
    imagery.write(folder / "a.tif", imagery.noise(9, 9)[..., :2], photometric="MINISBLACK", alpha="YES")


@case("{}/a.tif: has 4 bands; say which are red, green and blue, e.g. pixels.bands: [1, 2, 3]")
def four_bands(folder: Path) -> None:
    imagery.write(folder / "a.tif", np.dstack([imagery.noise(9, 9)] * 2)[..., :4], photometric="MINISBLACK")


@case("{}/a.tif: has 3 bands, but pixels.bands is [5, 3, 2]")
def band_that_is_not_there(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\npixels: {{bands: [5, 3, 2]}}"


@case("{}/a.tif: has its alpha in band 4, but pixels.bands is [4, 2, 1]; name colour bands only")
def alpha_taken_for_a_colour(folder: Path) -> str:
    image = np.dstack([imagery.noise(9, 9), imagery.noise(9, 9)[..., :1]])
    imagery.write(folder / "a.tif", image, photometric="RGB", alpha="YES")
    return f"{SCENE}\npixels: {{bands: [4, 2, 1]}}"


@case("{}/a.tif: has red, green and blue in other bands; say so: pixels.bands: [3, 2, 1]")
def blue_first(folder: Path) -> None:
    path = sound(folder, photometric="MINISBLACK")
    names = rasterio.enums.ColorInterp
    with rasterio.open(path, "r+") as file:
        file.colorinterp = names.blue, names.green, names.red


@case("{}/a.tif: holds indices into a colour table; expand it: gdal_translate -expand rgb")
def colour_table(folder: Path) -> None:
    path = imagery.write(folder / "a.tif", imagery.noise(9, 9)[..., :1], photometric="PALETTE")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {value: (value, 0, 0, 255) for value in range(256)})


@case("{}/a.tif: holds uint16 values; say which range becomes 0..255: pixels.scale: [low, high]")
def sixteen_bits(folder: Path) -> None:
    imagery.write(folder / "a.tif", imagery.noise(9, 9).astype(np.uint16))


@case("{}/a.tif: holds float32 values; say which range becomes 0..255: pixels.scale: [low, high]")
def floats(folder: Path) -> None:
    imagery.write(folder / "a.tif", imagery.noise(9, 9).astype(np.float32))


@case("{}/a.tif: holds complex64 values; convert it: gdal_translate -ot Byte")
def complex_numbers(folder: Path) -> None:
    imagery.write(folder / "a.tif", imagery.noise(9, 9).astype(np.complex64))


@case("{}/a.tif: holds uint8 values, so pixels.nodata 300 never occurs in it")
def nodata_out_of_range(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\npixels: {{nodata: 300}}"


@case("{}/a.tif: holds uint8 values, so pixels.nodata nan never occurs in it")
def nodata_not_a_number(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\npixels: {{nodata: nan}}"


@case(
    "{}/b.tif: holds uint16 and {}/a.tif uint8 values; one pixels.scale cannot fit both; "
    "convert one, or make two regions"
)
def mixed_types(folder: Path) -> str:
    sound(folder)
    imagery.write(folder / "b.tif", imagery.noise(40, 50).astype(np.uint16))
    return "scenes: [a.tif, b.tif]\npixels: {scale: [0, 1000]}"


# Where the output goes


@case("output {}: the scene {}/a.tif lies inside it; choose another folder")
def output_holds_the_scenes(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\noutput: ."


@case("output {}/s/out: it lies inside the scenes' folder {}/s; choose another folder, or list {}/s/*.tif")
def output_inside_the_scenes_folder(folder: Path) -> str:
    (folder / "s").mkdir()
    sound(folder / "s")
    return "scenes: [s]\noutput: s/out"


@case("output {}/out: the scene {}/s/a.tif lies inside it; choose another folder")
def output_linked_to_the_scenes(folder: Path) -> str:
    (folder / "s").mkdir()
    sound(folder / "s")
    (folder / "out").symlink_to("s")
    return "scenes: [s/a.tif]\noutput: out"


@case("output {}/out: the scene {}/link.tif lies inside it; choose another folder")
def scene_linked_from_the_output(folder: Path) -> str:
    (folder / "out").mkdir()
    sound(folder / "out")
    (folder / "link.tif").symlink_to("out/a.tif")
    return "scenes: [link.tif]\noutput: out"


@case("output {}/a.tif/out: {}/a.tif is not a folder")
def output_below_a_file(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\noutput: a.tif/out"


@case("output {}/out: footprints.gpkg in it is a link; remove it")
def output_that_is_a_link(folder: Path) -> str:
    sound(folder)
    (folder / "out").mkdir()
    (folder / "out/footprints.gpkg").symlink_to("/etc/passwd")
    return f"{SCENE}\noutput: out"


# The area


def _area(folder: Path, content: bytes | str, name: str = "area.geojson") -> str:
    sound(folder)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return f"{SCENE}\narea: {name}"


FORMATS = "is not a GeoJSON, GPKG, FlatGeobuf, ESRI Shapefile; convert it: ogr2ogr area.gpkg"


@case("area {}/nix.gpkg: cannot be read: No such file or directory")
def no_area_file(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\narea: nix.gpkg"


@case(f"area {{}}/area.geojson: {FORMATS}")
def area_as_ogr_vrt(folder: Path) -> str:
    return _area(
        folder, "<OGRVRTDataSource><OGRVRTLayer name='x'><SrcDataSource>/vsicurl/http://127.0.0.1:9/a</SrcDataSource>"
    )


@case(f"area {{}}/area.geojson: {FORMATS}")
def area_as_text(folder: Path) -> str:
    return _area(folder, "POLYGON ((0 0, 1 0, 1 1, 0 0))")


@case("area {}/area.geojson: holds no polygon")
def area_without_polygon(folder: Path) -> str:
    return _area(folder, '{"type": "Point", "coordinates": [15, 48]}')


@case("area {}/area.geojson: holds no polygon")
def empty_area(folder: Path) -> str:
    return _area(folder, '{"type": "FeatureCollection", "features": []}')


@case("area {}/area.geojson: does not meet the scenes; is its coordinate reference system right?")
def area_elsewhere(folder: Path) -> str:
    return _area(folder, '{"type": "Polygon", "coordinates": [[[1, 1], [2, 1], [2, 2], [1, 1]]]}')


@case(
    "area {}/area.geojson: cannot be brought into the scenes' CRS: transform error: Point outside of projection "
    "domain; is its own CRS right, and is it of this region?"
)
def area_a_quarter_of_the_earth_away(folder: Path) -> str:
    return _area(folder, '{"type": "Polygon", "coordinates": [[[105, 0], [105.1, 0], [105, 0.1], [105, 0]]]}')


@case("area {}/area.gpkg: declares no coordinate reference system; write one: ogr2ogr -a_srs EPSG:<code>")
def area_without_crs(folder: Path) -> str:
    sound(folder)
    wkb = np.array([shapely.to_wkb(shapely.box(0, 0, 1, 1))], object)
    with warnings.catch_warnings(action="ignore"):
        pyogrio.raw.write(folder / "area.gpkg", wkb, [np.array([1])], ["n"], geometry_type="Polygon", crs=None)
    return f"{SCENE}\narea: area.gpkg"


@case(
    "area {}/area.geojson: has coordinates like 500000, 5.3e+06 and declares degrees, as GeoJSON without a coordinate "
    "reference system does; write the right one: ogr2ogr -a_srs EPSG:<code> area.gpkg area.geojson"
)
def area_in_metres_called_degrees(folder: Path) -> str:
    corners = [[5e5, 5.3e6], [500_020, 5.3e6], [500_020, 5_300_020], [5e5, 5.3e6]]
    return _area(folder, json.dumps({"type": "Polygon", "coordinates": [corners]}))


@case("area {}/area.geojson: is larger than 64 MiB; simplify it")
def giant_area(folder: Path) -> str:
    made = _area(folder, "{")
    os.truncate(folder / "area.geojson", (64 << 20) + 1)
    return made


@case("area {}/area.geojson: is not a regular file")
def area_that_is_a_pipe(folder: Path) -> str:
    sound(folder)
    os.mkfifo(folder / "area.geojson")
    return f"{SCENE}\narea: area.geojson"


# The weights, of which the survey of the run reads the header only; models' own tests hold many more


def _weights(folder: Path, content: bytes, name: str = "w.safetensors") -> str:
    sound(folder)
    (folder / name).write_bytes(content)
    return f"{SCENE}\nmodel: {{weights: {name}}}"


@case("model.weights: {}/nix.safetensors: there is no such file")
def no_weights(folder: Path) -> str:
    sound(folder)
    return f"{SCENE}\nmodel: {{weights: nix.safetensors}}"


@case("model.weights: {}/w.safetensors: it is no safetensors file: a header of 0 bytes is not between 2 and 1,048,576")
def empty_weights(folder: Path) -> str:
    return _weights(folder, b"")


@case(
    "model.weights: {}/w.safetensors: it is no safetensors file: "
    "a header of 1,152,921,504,606,846,976 bytes is not between 2 and 1,048,576"
)
def weights_with_a_lying_header(folder: Path) -> str:
    return _weights(folder, struct.pack("<Q", 2**60) + b"{}")


@case("model.weights: {}/w.safetensors: it is truncated: 64 of 128 bytes of tensors are there; copy it again")
def truncated_weights(folder: Path) -> str:
    header = b'{"final.weight": {"dtype": "F32", "shape": [1, 32, 1, 1], "data_offsets": [0, 128]}}'
    return _weights(folder, struct.pack("<Q", len(header)) + header + bytes(64))


# The YAML


@case("region.yaml:3:4: anchor &a is not accepted; write the value out")
def merge_bomb(folder: Path) -> str:
    levels = "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
        for before, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    return f"scenes: [a.tif]\na: &a  [x, x, x, x, x, x, x, x, x]\n{levels}"


@case("region.yaml:2:10: the tag tag:yaml.org,2002:python/object/apply:os.system is not accepted; remove it")
def python_tag(folder: Path) -> str:
    return "scenes: [!!python/object/apply:os.system ['touch executed']]"


@case("region.yaml:2:29 is nested deeper than 20 levels")
def deep_nesting(folder: Path) -> str:
    return "scenes: " + "[" * 500


@case("region.yaml is larger than 1 MiB; list folders or globs instead of single scenes")
def large_yaml(folder: Path) -> str:
    return "scenes: [" + "a.tif, " * 200_000 + "]"


@case("region.yaml:3:1 scenes: is already given at line 2, column 1; remove one of the two")
def duplicate_key(folder: Path) -> str:
    return "scenes: [a.tif]\nscenes: [b.tif]"


@case("region.yaml:3:1 tile: unknown key; did you mean tiles?")
def unknown_key(folder: Path) -> str:
    return "scenes: [a.tif]\ntile: 5"


@case("region.yaml:2:1 is not valid YAML: a tab cannot indent; use spaces")
def tab_for_indent(folder: Path) -> str:
    return "\tscenes: [a.tif]"


@case(
    "region.yaml is not valid YAML: unacceptable character #x0000: control characters are not allowed in "
    '"<unicode string>", position 11'
)
def null_byte(folder: Path) -> str:
    return "\0scenes: [a.tif]"


@case(
    "region.yaml:4:15 tiles.size: 500 is not a multiple of 32; nearest are 480 and 512",
    "region.yaml:5:26 footprints.threshold: '2' must be below 1",
    "region.yaml:6:1 bogus: unknown key; did you mean output?",
)
def three_problems(folder: Path) -> str:
    return "scenes: [a.tif]\n# comment\ntiles: {size: 500}\nfootprints: {threshold:  2}\nbogus: 1"


# All at once


@case(
    "{}/nix.tif: no such file",
    "output {}/a.tif/out: {}/a.tif is not a folder",
    "{}/c.tif: is empty",
    "{}/b.tif: has no coordinate reference system; write it into the file: gdal_edit.py -a_srs EPSG:<code>",
    "{}/b.tif: holds uint16 values; say which range becomes 0..255: pixels.scale: [low, high]",
    "area {}/nix.gpkg: cannot be read: No such file or directory",
    "model.weights: {}/nix.safetensors: there is no such file",
)
def everything_at_once(folder: Path) -> str:
    sound(folder)
    imagery.write(folder / "b.tif", imagery.noise(9, 9).astype(np.uint16), crs=None)
    (folder / "c.tif").touch()
    scenes = "scenes: [a.tif, nix.tif, b.tif, c.tif]"
    return f"{scenes}\noutput: a.tif/out\narea: nix.gpkg\nmodel: {{weights: nix.safetensors}}"


@case(r"{}/red\x1b[31m\n.tif: is empty")
def terminal_commands_in_a_name(folder: Path) -> str:
    (folder / "red\x1b[31m\n.tif").touch()
    return "scenes: ['*.tif']"
