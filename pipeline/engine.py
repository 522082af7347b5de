"""How the network runs, and the memory that a tile of it takes: on its worker's machine, and on the device."""

from dataclasses import dataclass
from pathlib import Path

from models.catalogue import CATALOGUE, Network
from pipeline.machine import MIB
from pipeline.scenes.gdal import CACHE_BYTES

# A process with torch, rasterio, zarr and dask loaded (measured: 0.62 GiB), and the cache of GDAL.
PROCESS_BYTES = 700 * MIB + CACHE_BYTES
# Tiles read ahead of the device, for each worker.
READ_AHEAD = 2
# uint8 RGB and the mask of a tile that waits for the device, and samples that wait for the disk, per tile pixel.
WAITING_BYTES = 5 * (1 + READ_AHEAD)
# uint8 RGB of the tiles that wait on a GPU, per tile pixel.
UPLOADED_BYTES = 3 * (1 + READ_AHEAD)


@dataclass(frozen=True, slots=True)
class Taken:
    """Memory that tiles take."""

    fixed: float
    """However large they are, B."""
    per_pixel: float
    """And for each pixel of the largest one, B."""

    def bytes(self, pixels: float) -> int:
        """For a tile of so many pixels."""
        return int(self.fixed + self.per_pixel * pixels)

    def pixels(self, memory: float) -> float:
        """Of the largest tile that fits; negative where none does."""
        return (memory - self.fixed) / self.per_pixel


@dataclass(frozen=True, slots=True)
class Engine:
    """How the network runs; the same on every worker."""

    weights: Path
    """The weights file."""
    network: str
    """Its name in the catalogue."""
    device: str
    """``cpu`` or ``cuda`` or ``cuda:N``."""
    precision: str
    """``fp32``, ``bf16`` or ``fp16``."""
    tta: str
    """``none`` or ``d4``."""
    fixed_bytes: int
    """Device memory that it takes for any tile, weights included, B."""
    bytes_per_pixel: float
    """Device memory for each pixel of a tile, B."""
    most_pixels: int | None = None
    """Pixels of the largest tile that the device can compute however much memory it has; None: no such limit."""
    device_bytes: int | None = None
    """Free memory of the device, B; None where it is the machine's own, which ``memory`` limits."""
    sha256: str = ""
    """Of the weights: a file at the same path may hold others by now."""
    check: str = ""
    """How the precision was chosen, in one sentence; empty when the config did."""

    @property
    def facts(self) -> Network:
        """What the catalogue knows of the network."""
        return CATALOGUE[self.network]

    @property
    def on_device(self) -> Taken:
        """What a worker takes of its device, with the tiles that wait there."""
        uploaded = 0 if self.device_bytes is None else UPLOADED_BYTES
        return Taken(self.fixed_bytes, self.bytes_per_pixel + uploaded)

    @property
    def on_host(self) -> Taken:
        """What a worker takes of its machine, and so of ``memory``: all, where that is the device's memory as well."""
        if self.device_bytes is not None:
            return Taken(PROCESS_BYTES, WAITING_BYTES)
        return Taken(PROCESS_BYTES + self.fixed_bytes, WAITING_BYTES + self.bytes_per_pixel)
