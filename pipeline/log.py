"""``run.log``: JSON lines, UTC."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(slots=True)
class Log:
    """``run.log``: one JSON object a line, UTC, appended to by every run of the output."""

    path: Path
    """The file."""
    _file: IO[str] | None = None

    def write(self, event: str, **facts: Any) -> None:
        """Append one event."""
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
        self._file.write(json.dumps({"time": now(), "event": event, **facts}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
