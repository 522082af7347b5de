"""Damaged GeoTIFFs and YAMLs by the thousand: each must be read, or refused with a typed error, within time and memory.

Run by ``test_fuzz.py`` as a process of its own, because a crash must be a finding and not the end of the tests:
``python fuzz.py tiff|yaml <folder> <first> <count> [<seed> …]``. A finding is a line of JSON on stdout. A case is a
function of its seed alone, so a finding is repeated by its number.
"""

import json
import os
import random
import resource
import struct
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

import imagery
import numpy as np
import rasterio

from pipeline import config, pixels, survey
from pipeline.errors import InputError
from tiling.grid import Span, Window

SECONDS, BYTES = 5.0, 512 << 20
ADDRESS_SPACE = 6 << 30  # ends a case that would fill the machine; GDAL's threads and libraries map about 1.5 GiB
READ = 1024  # px a side that are read of whatever mosaic comes out


def seeds_of_tiffs(folder: Path) -> list[bytes]:
    """Sound GeoTIFFs of many forms, all small."""
    image, mask = imagery.noise(48, 64), np.random.default_rng(1).random((48, 64)) < 0.7
    forms: list[dict[str, object]] = [
        {},
        {"blockysize": 3},
        {"tiled": True, "blockxsize": 16, "blockysize": 16},
        {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate", "predictor": 2},
        {"compress": "lzw", "BIGTIFF": "YES"},
        {"compress": "jpeg", "photometric": "YCBCR", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "packbits", "interleave": "band"},
        {"compress": "zstd", "ENDIANNESS": "BIG"},
        {"compress": "lerc"},
        {"compress": "webp", "tiled": True, "blockxsize": 16, "blockysize": 16},
        {"compress": "lzma"},
        {"nodata": 7},
        {"crs": "EPSG:4326", "transform": rasterio.Affine(1e-5, 0, 15, 0, -1e-5, 48)},
    ]
    for number, form in enumerate(forms):
        imagery.write(folder / f"{number}.tif", image, **form)
    imagery.write(folder / "mask.tif", image, mask=mask, compress="deflate")
    imagery.write(folder / "wide.tif", image.astype(np.uint16) * 9)
    imagery.write(folder / "float.tif", image.astype(np.float32), compress="deflate", predictor=3)
    imagery.write(folder / "alpha.tif", np.dstack([image, mask * np.uint8(255)]), photometric="RGB", alpha="YES")
    with rasterio.open(imagery.write(folder / "over.tif", image, compress="deflate"), "r+") as file:
        file.build_overviews([2, 4])
        file.update_tags(note="x" * 300)
    return [path.read_bytes() for path in sorted(folder.glob("*.tif"))]


def mutate_tiff(content: bytes, generator: random.Random) -> bytes:
    """One to six changes, most of them where the tables are."""
    data = bytearray(content)
    for _ in range(generator.randint(1, 6)):
        if data:
            generator.choice(TIFF_CHANGES)(data, generator)
    return bytes(data)


def _place(data: bytearray, generator: random.Random) -> int:
    """A place, most often in the first 600 bytes, where directories and tables are."""
    return generator.randrange(min(len(data), 600) if generator.random() < 0.7 else len(data))


def _flip(data: bytearray, generator: random.Random) -> None:
    data[_place(data, generator)] ^= 1 << generator.randrange(8)


def _byte(data: bytearray, generator: random.Random) -> None:
    data[_place(data, generator)] = generator.choice((0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256)))


def _word(data: bytearray, generator: random.Random) -> None:
    value = generator.choice((0, 1, 2, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000, len(data), generator.getrandbits(32)))
    packed = struct.pack(generator.choice("<>") + generator.choice("IHQ"), value & 0xFFFF)
    packed = packed if len(packed) == 2 else struct.pack("<I", value)
    at = _place(data, generator) & ~1
    data[at : at + len(packed)] = packed


def _entry(data: bytearray, generator: random.Random) -> None:
    """Change one field of one tag of the first directory of a classic TIFF."""
    if data[:3] != b"II*" or len(data) < 8:
        return _word(data, generator)
    (at,) = struct.unpack_from("<I", data, 4)
    if at + 2 > len(data):
        return None
    (count,) = struct.unpack_from("<H", data, at)
    place = at + 2 + 12 * generator.randrange(max(1, min(count, 40)))
    if place + 12 <= len(data):
        field, size = generator.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 4)))
        value = generator.choice((0, 1, 3, 5, 8, 255, 2**16 - 1, 2**31, 2**32 - 1, generator.getrandbits(32)))
        data[place + field : place + field + size] = (value % 256**size).to_bytes(size, "little")
    return None


def _cut(data: bytearray, generator: random.Random) -> None:
    del data[generator.randrange(len(data)) :]


def _erase(data: bytearray, generator: random.Random) -> None:
    at = _place(data, generator)
    length = min(generator.randrange(1, 64), len(data) - at)
    data[at : at + length] = bytes(length)


def _insert(data: bytearray, generator: random.Random) -> None:
    at = _place(data, generator)
    data[at:at] = generator.randbytes(generator.randrange(1, 16))


def _remove(data: bytearray, generator: random.Random) -> None:
    at = _place(data, generator)
    del data[at : at + generator.randrange(1, 16)]


def _copy(data: bytearray, generator: random.Random) -> None:
    source, target, length = _place(data, generator), _place(data, generator), generator.randrange(1, 64)
    part = data[source : source + length]
    data[target : target + len(part)] = part


TIFF_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...]
TIFF_CHANGES = (_flip, _byte, _word, _entry, _entry, _entry, _cut, _erase, _insert, _remove, _copy)

REGION = """\
name: banepa
scenes: [a.tif, 'b/*.tif']
output: out/banepa
area: boundary.geojson
remote: [data.example.org]
pixels: {bands: [1, 2, 3], scale: [0, 2047], nodata: 0}
grid:
  crs: EPSG:32645
  resolution: 0.3
  resample: true
model: {name: ternausnet11, weights: w.safetensors}
tiles: {size: 1024, halo: 160}   # a comment
inference:
  device: auto
  precision: fp32
  tta: d4
footprints:
  threshold: 0.35
  min_area: 1e1
  formats:
    - gpkg
    - parquet
cluster:
  kind: slurm
  walltime: 01:00:00
  memory: 8GiB
  prologue: ["module load gdal"]
memory: auto
on_error: report
"""
TOKENS = (
    *(
        "",
        "~",
        "null",
        "NO",
        "yes",
        "1e-4",
        "-1",
        "0",
        "1e999",
        "nan",
        ".inf",
        "0x10",
        "1_000",
        "9" * 400,
        "[1, 2]",
        "500",
    ),
    *("[", "]", "{", "}", "[[]]", "{a: b}", "{" * 30, "? a", "- ", ": ", "#", "|", ">", '"', "'", "\\", "\\x00"),
    *("&a", "*a", "!!python/object:os.system", "!x", "<<: {a: 1}", "---", "...", "%YAML 1.1", "auto", "value", "true"),
    *("\t", "\0", "\x1b[2J", "\u2028", "\ufeff", "\r", "\x85", "é", "😀", "a" * 5000),
    *("/dev/zero", "https://evil/", "/vsicurl/x", "ternausnet12"),
)


def mutate_yaml(generator: random.Random) -> str:
    """A sound region.yaml with one to eight changes of characters, lines and words."""
    text = REGION
    for _ in range(generator.randint(1, 8)):
        text = generator.choice(YAML_CHANGES)(text, generator)
    return text


def _put(text: str, generator: random.Random) -> str:
    at = generator.randrange(len(text) + 1)
    return text[:at] + generator.choice(TOKENS) + text[at:]


def _drop(text: str, generator: random.Random) -> str:
    at = generator.randrange(len(text) + 1)
    return text[:at] + text[at + generator.randrange(1, 8) :]


def _swap_lines(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    one, other = generator.randrange(len(lines)), generator.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return "\n".join(lines)


def _double_line(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    one = generator.randrange(len(lines))
    return "\n".join(lines[:one] + lines[one : one + 1] * generator.choice((2, 2, 50)) + lines[one + 1 :])


def _value(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    one = generator.randrange(len(lines))
    key, colon, _ = lines[one].partition(":")
    lines[one] = f"{key}{colon} {generator.choice(TOKENS)}"
    return "\n".join(lines)


def _key(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    one = generator.randrange(len(lines))
    _, colon, value = lines[one].partition(":")
    lines[one] = f"{generator.choice(TOKENS)}{colon}{value}"
    return "\n".join(lines)


YAML_CHANGES = (_put, _drop, _swap_lines, _double_line, _value, _value, _key)


def run_tiff(folder: Path) -> Callable[[random.Random], None]:
    """A case: a mutated GeoTIFF is surveyed and, where it is accepted, read."""
    (folder / "seeds").mkdir(parents=True)
    contents = seeds_of_tiffs(folder / "seeds")
    text = "scenes: [a.tif]\npixels: {bands: [1, 2, 3], scale: [0, 255]}"
    region = config.load(imagery.region(folder, text))

    def case(generator: random.Random) -> None:
        pixels.close()
        (folder / "a.tif").write_bytes(mutate_tiff(generator.choice(contents), generator))
        try:
            mosaic = survey.survey(region)
            height, width = (min(size, READ) for size in mosaic.shape)
            top, left = (
                generator.randrange(size - part + 1) for size, part in zip(mosaic.shape, (height, width), strict=True)
            )
            found = pixels.read(mosaic, Window(Span(top, top + height), Span(left, left + width)))
            if found.rgb.shape != (height, width, 3) or not (found.rgb[~found.valid] == pixels.FILL).all():
                raise AssertionError("pixels that are neither data nor filled")
        except (InputError, pixels.SceneError) as error:
            check_sentences(error)

    return case


def run_yaml(folder: Path) -> Callable[[random.Random], None]:
    """A case: a mutated region.yaml is loaded."""
    folder.mkdir(parents=True)

    def case(generator: random.Random) -> None:
        (folder / "region.yaml").write_text(mutate_yaml(generator), encoding="utf-8", errors="surrogatepass")
        settings = [f"tiles.size={generator.choice(TOKENS)}"] if generator.random() < 0.1 else []
        try:
            config.load(folder / "region.yaml", settings)
        except InputError as error:
            check_sentences(error)

    return case


def check_sentences(error: Exception) -> None:
    """Each problem is one short printable line."""
    lines = str(error).split("\n")
    if not all(line and line.isprintable() and len(line) < 1000 for line in lines):
        raise AssertionError(f"not sentences: {str(error)[:300]!r}") from error


def guard() -> None:
    """Bound the memory, and make any network use an error."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))

    def audit(event: str, _: object) -> None:
        if event in (
            "socket.connect",
            "socket.getaddrinfo",
            "os.system",
            "subprocess.Popen",
            "os.exec",
            "pickle.find_class",
        ):
            raise PermissionError(event)

    sys.addaudithook(audit)


def peak() -> int:
    """Bytes of memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main(kind: str, folder: Path, seeds: Sequence[int]) -> None:
    """Run the cases and print the findings."""
    case = {"tiff": run_tiff, "yaml": run_yaml}[kind](folder)
    guard()
    case(random.Random(-1))  # noqa: S311 - warms up what is loaded once
    base, slowest = peak(), 0.0
    for seed in seeds:
        (folder / "now").write_text(str(seed))  # who dies names the case
        start, finding = time.perf_counter(), None
        try:
            case(random.Random(seed))  # noqa: S311 - for repeatable cases, not for secrets
        except BaseException:  # whatever it is, it is the finding
            finding = traceback.format_exc()
        seconds = time.perf_counter() - start
        slowest = max(slowest, seconds)
        if seconds > SECONDS or peak() - base > BYTES:
            finding = f"{seconds:.1f} s, {(peak() - base) >> 20} MiB\n{finding or ''}"
        if finding:
            print(json.dumps({"seed": seed, "finding": finding}), flush=True)
    print(
        json.dumps({"cases": len(seeds), "slowest_s": round(slowest, 2), "grown_mib": (peak() - base) >> 20}),
        flush=True,
    )


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "error"
    first, count = int(sys.argv[3]), int(sys.argv[4])
    main(sys.argv[1], Path(sys.argv[2]), [*range(first, first + count), *map(int, sys.argv[5:])])
