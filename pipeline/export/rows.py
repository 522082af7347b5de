"""Footprints on their way into files."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from pipeline.footprints.finish import SCHEMA

Rows = Iterable[pa.RecordBatch]
"""Record batches of ``finish.SCHEMA``; iterated once for every format."""
LAYER = "footprints"
"""Name of the layer, and of the files."""
GROUP = 50_000
"""Rows written at once: small enough for any memory, large enough to be read in one go."""


def batched(rows: Rows, size: int = GROUP) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of ``size``, the last one shorter: so that blocks leave no trace in the files."""
    waiting = pa.Table.from_batches([], SCHEMA)
    for batch in rows:
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
        while waiting.num_rows >= size:
            yield from waiting.slice(0, size).combine_chunks().to_batches()
            waiting = waiting.slice(size)
    yield from waiting.combine_chunks().to_batches()


@contextmanager
def stream(rows: Rows) -> Iterator[pa.RecordBatchReader]:
    """The rows as one Arrow stream of the footprints' schema, however few.

    What goes wrong with them is raised as itself: the library that reads the stream knows only that it broke.
    """
    failures: list[BaseException] = []

    def remembering() -> Iterator[pa.RecordBatch]:
        try:
            yield from batched(rows)
        except (Exception, KeyboardInterrupt) as error:
            failures.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(SCHEMA, remembering())
    finally:
        if failures:
            raise failures[0] from None
