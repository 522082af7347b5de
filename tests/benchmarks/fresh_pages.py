"""What fresh pages cost a network on a processor: tile after tile, with the C library's settings and with ours.

python -m tests.benchmarks.fresh_pages [--rows 2528] [--cols 5024] [--precision bf16] [--repeat 3]

Each way has a process of its own, whose network runs in a thread, as a worker's does.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import threading
import time

import numpy as np

from models.catalogue import build
from models.memory import KEEP_PAGES
from models.predictor import Predictor
from models.weights import Weights

TILES = 3
COLUMNS = ("wall s", "user s", "system s", "1000 faults", "peak MiB")


def tiles(rows: int, cols: int, precision: str) -> None:
    """Print what each tile took, one a line."""
    predictor = Predictor(build("ternausnet11"), Weights(network="ternausnet11"), precision=precision)
    rgb = np.random.default_rng(0).integers(0, 256, (rows, cols, 3), dtype=np.uint8)
    for _ in range(TILES):
        wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        predictor.samples(rgb)
        after = resource.getrusage(resource.RUSAGE_SELF)
        faults = (after.ru_minflt - before.ru_minflt) / 1000
        seconds = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        print(time.perf_counter() - wall, *seconds, faults, after.ru_maxrss / 1024)


def measured(options: argparse.Namespace, environment: dict[str, str]) -> list[list[float]]:
    """The tiles of one process."""
    sizes = ("--rows", str(options.rows), "--cols", str(options.cols), "--precision", options.precision)
    command = [sys.executable, "-m", "tests.benchmarks.fresh_pages", "--alone", *sizes]
    done = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


def main() -> None:
    """Take turns and print one table of medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2528)
    parser.add_argument("--cols", type=int, default=5024)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        thread = threading.Thread(target=tiles, args=(options.rows, options.cols, options.precision))
        thread.start()
        thread.join()
        return
    ways: dict[str, dict[str, str]] = {"as the C library does": {}, "pages kept": KEEP_PAGES}
    turns = [{name: measured(options, way) for name, way in ways.items()} for _ in range(options.repeat)]
    print(f"{'':32}" + "".join(f"{column:>13}" for column in COLUMNS))
    for name in ways:
        for tile in range(TILES):
            medians = (statistics.median(turn[name][tile][column] for turn in turns) for column in range(len(COLUMNS)))
            print(f"{f'{name}, tile {tile + 1}':32}" + "".join(f"{value:13.1f}" for value in medians))


if __name__ == "__main__":
    main()
