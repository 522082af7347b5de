"""A network in patches against whole layers: processor time and peak memory, turn by turn in one go.

python -m tests.benchmarks.network_speed [--network ternausnet11] [--height 1024] [--width 1024] [--repeat 5]

With one thread, processor time is not disturbed by what else runs; the cache is.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from models import predictor
from models.catalogue import CATALOGUE, build
from models.memory import trim
from models.predictor import PRECISIONS, Predictor
from models.weights import Weights
from tests import memory


def whole_layers(name: str, precision: str) -> Callable[[NDArray[np.uint8]], object]:
    """A plain forward pass, channels last."""
    weights = Weights(network=name)
    network = build(name).eval().to(PRECISIONS[precision]).to(memory_format=torch.channels_last)
    mean, std = torch.tensor(weights.mean), torch.tensor(weights.std)

    @torch.inference_mode()
    def forward(rgb: NDArray[np.uint8]) -> object:
        x = ((torch.from_numpy(rgb).float() / 255 - mean) / std).to(PRECISIONS[precision])
        return (network(x.permute(2, 0, 1)[None]).float().sigmoid() * 254).round().to(torch.uint8)

    return forward


def in_patches(name: str, precision: str, mib: int) -> Callable[[NDArray[np.uint8]], object]:
    """The product's way, with patches of ``mib`` MiB."""
    predictor.PATCH_BYTES["cpu"] = mib << 20
    return Predictor(build(name), Weights(network=name), precision=precision).samples


def peak(call: Callable[[], object]) -> float:
    """Resident memory that a call adds at most, MiB."""
    trim()
    before = memory.resident()
    memory.forget_peak()
    call()
    return (memory.peak() - before) / 2**20


def main() -> None:
    """Take turns and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="ternausnet11", choices=CATALOGUE)
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp32"])
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--mib", type=int, nargs="+", default=[16, 48, 96])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    rgb = np.random.default_rng(0).integers(0, 256, (options.height, options.width, 3), dtype=np.uint8)
    print(f"{options.network}, {rgb.shape[0]} × {rgb.shape[1]} px, {options.threads} thread(s)")
    print(f"{'':24}{'s per Mpx':>10}{'÷ whole layers':>16}{'peak B per px':>15}")
    for precision in options.precisions:
        ways = {f"{precision} whole layers": whole_layers(options.network, precision)}
        ways |= {f"{precision} patches {n} MiB": in_patches(options.network, precision, n) for n in options.mib}
        memory = {name: peak(lambda way=way: way(rgb)) for name, way in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeat):
            for name, way in ways.items():
                started = clock()
                way(rgb)
                seconds[name].append(clock() - started)
        whole = seconds[f"{precision} whole layers"]
        for name, turns in seconds.items():
            ratio = statistics.median(a / b for a, b in zip(turns, whole, strict=True))
            pixels = options.height * options.width
            print(f"{name:24}{statistics.median(turns) / pixels * 1e6:10.2f}{ratio:16.3f}", end="")
            print(f"{memory[name] * 2**20 / pixels:15.0f}", flush=True)


if __name__ == "__main__":
    main()
