"""Blocks that partition a raster, and the tile that each block needs.

All arithmetic is integer, in pixels, and per axis. A block is what is kept; its tile is what the network sees: the
block grown by the reach of the network, with its origin on the stride. Overlaps are cropped, not blended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


def round_up(value: int, step: int) -> int:
    """The least multiple of ``step`` that is not below ``value``."""
    return -(-value // step) * step


def nearest(value: int, step: int) -> str:
    """The positive multiples of ``step`` on both sides of ``value``, in words."""
    low = value // step * step
    return " and ".join(str(multiple) for multiple in (low, low + step) if multiple)


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open interval of pixels on one axis."""

    start: int
    """First pixel."""
    stop: int
    """One past the last pixel."""

    def __post_init__(self) -> None:
        if self.stop < self.start:
            raise ValueError(f"a span must not end before it starts: {self.start}..{self.stop}")

    def __len__(self) -> int:
        return self.stop - self.start

    def clip(self, size: int) -> "Span":
        """The part of it inside ``0..size``."""
        return Span(min(max(self.start, 0), size), max(min(self.stop, size), 0))

    def within(self, outer: "Span") -> slice:
        """This span as a slice of an array that holds ``outer``."""
        if self.start < outer.start or self.stop > outer.stop:
            raise ValueError(f"{self} does not lie within {outer}")
        return slice(self.start - outer.start, self.stop - outer.start)

    def meets(self, other: "Span") -> bool:
        """Whether the two share a pixel."""
        return self.start < other.stop and other.start < self.stop

    def moved(self, px: int) -> "Span":
        """As long, ``px`` further on."""
        return Span(self.start + px, self.stop + px)

    def middle(self, size: int) -> "Span":
        """The ``size`` px in its middle; all of it where it is shorter."""
        start = self.start + max(0, len(self) - size) // 2
        return Span(start, min(start + size, self.stop))

    def pieces(self, size: int) -> Iterator["Span"]:
        """It, cut every ``size`` px; the last piece may be shorter."""
        return (Span(start, min(start + size, self.stop)) for start in range(self.start, self.stop, size))


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels."""

    rows: Span
    """Its rows (y)."""
    cols: Span
    """Its columns (x)."""

    @classmethod
    def of(cls, shape: tuple[int, int]) -> "Window":
        """All of a raster of ``shape``."""
        return cls(Span(0, shape[0]), Span(0, shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return len(self.rows), len(self.cols)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return len(self.rows) * len(self.cols)

    @property
    def slices(self) -> tuple[slice, slice]:
        """This window as slices of the whole raster's array."""
        return slice(self.rows.start, self.rows.stop), slice(self.cols.start, self.cols.stop)

    def moved(self, rows: int, cols: int) -> "Window":
        """As large, so many rows down and columns to the right."""
        return Window(self.rows.moved(rows), self.cols.moved(cols))

    def clip(self, shape: tuple[int, int]) -> "Window":
        """The part of it inside a raster of ``shape``."""
        return Window(self.rows.clip(shape[0]), self.cols.clip(shape[1]))

    def intersection(self, other: "Window") -> "Window":
        """The pixels that both have; the two must meet.

        Raises:
            ValueError: they share no pixel.
        """
        pairs = (self.rows, other.rows), (self.cols, other.cols)
        return Window(*(Span(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs))

    def within(self, outer: "Window") -> tuple[slice, slice]:
        """This window as slices of an array that holds ``outer``."""
        return self.rows.within(outer.rows), self.cols.within(outer.cols)

    def meets(self, other: "Window") -> bool:
        """Whether the two share a pixel."""
        return self.rows.meets(other.rows) and self.cols.meets(other.cols)


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a raster, divided into blocks whose tiles a network of a given stride and reach can take."""

    size: int
    """Pixels of the raster."""
    block: int
    """Pixels of a block; a multiple of ``stride``. The last block may be shorter."""
    stride: int
    """The network's stride: tiles start on, and measure, multiples of it."""
    before: int
    """Context in front of a block, px."""
    after: int
    """Context behind a block, px."""

    def __post_init__(self) -> None:
        if min(self.size, self.block, self.stride) < 1 or min(self.before, self.after) < 0:
            raise ValueError(f"sizes must be positive and context not negative: {self}")
        if self.block % self.stride:
            near = nearest(self.block, self.stride)
            raise ValueError(f"block {self.block} is not a multiple of the stride {self.stride}; nearest: {near}")

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.size // self.block)

    @property
    def padded(self) -> int:
        """The raster's size with its end padded to the stride."""
        return round_up(self.size, self.stride)

    def span(self, index: int) -> Span:
        """The pixels of block ``index``."""
        if not 0 <= index < self.blocks:
            raise IndexError(f"block {index} of {self.blocks}")
        return Span(index * self.block, min((index + 1) * self.block, self.size))

    @property
    def context(self) -> tuple[int, int]:
        """Context (before, after) in whole strides, px."""
        return round_up(self.before, self.stride), round_up(self.after, self.stride)

    def tile(self, index: int) -> Span:
        """The pixels that the network must see for block ``index``."""
        return self.around(self.span(index))

    def around(self, span: Span) -> Span:
        """The pixels that the network must see for ``span``: within ``0..padded``, on the stride."""
        before, after = self.context
        start, stop = span.start // self.stride * self.stride, round_up(span.stop, self.stride)
        return Span(start - before, stop + after).clip(self.padded)

    def spans_over(self, span: Span) -> range:
        """Indices of the blocks that share a pixel with ``span``."""
        clipped = span.clip(self.size)
        return range(clipped.start // self.block, -(-clipped.stop // self.block) if len(clipped) else 0)


@dataclass(frozen=True, slots=True, order=True)
class BlockIndex:
    """The place of a block in its grid."""

    row: int
    """Counted from the top."""
    col: int
    """Counted from the left."""

    def __str__(self) -> str:
        return f"{self.row}-{self.col}"

    @classmethod
    def parse(cls, text: str) -> "BlockIndex":
        """The block that prints as ``text``.

        Raises:
            ValueError: none does.
        """
        row, col = text.split("-")
        return cls(int(row), int(col))


@dataclass(frozen=True, slots=True)
class Grid:
    """A raster divided into blocks."""

    rows: Axis
    """The vertical axis (y)."""
    cols: Axis
    """The horizontal axis (x)."""

    @classmethod
    def of(cls, shape: Sequence[int], block: Sequence[int], stride: int = 1, halo: tuple[int, int] = (0, 0)) -> "Grid":
        """A raster in blocks, both (height, width) px; ``halo`` is the context (before, after) of a block."""
        return cls(*(Axis(size, side, stride, *halo) for size, side in zip(shape, block, strict=True)))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the raster in pixels."""
        return self.rows.size, self.cols.size

    @property
    def block_shape(self) -> tuple[int, int]:
        """(height, width) of a block in pixels; the last ones may be smaller."""
        return self.rows.block, self.cols.block

    @property
    def blocks(self) -> tuple[int, int]:
        """Number of blocks (down, across)."""
        return self.rows.blocks, self.cols.blocks

    def __len__(self) -> int:
        return self.rows.blocks * self.cols.blocks

    def __iter__(self) -> Iterator[BlockIndex]:
        return (BlockIndex(row, col) for row in range(self.rows.blocks) for col in range(self.cols.blocks))

    def __contains__(self, block: BlockIndex) -> bool:
        return 0 <= block.row < self.rows.blocks and 0 <= block.col < self.cols.blocks

    def window(self, block: BlockIndex) -> Window:
        """The pixels that a block keeps."""
        return Window(self.rows.span(block.row), self.cols.span(block.col))

    def tile(self, block: BlockIndex) -> Window:
        """The pixels that the network sees for a block; past the raster's end they are padding."""
        return Window(self.rows.tile(block.row), self.cols.tile(block.col))

    def blocks_over(self, window: Window) -> Iterator[BlockIndex]:
        """The blocks that share a pixel with ``window``."""
        cols = self.cols.spans_over(window.cols)
        return (BlockIndex(row, col) for row in self.rows.spans_over(window.rows) for col in cols)
