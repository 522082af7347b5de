"""What exported files say of their origin."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Metadata:
    """Provenance of the footprints of one run."""

    crs: str
    """WKT of the coordinate reference system."""
    name: str
    """The region's name."""
    model: str
    """The network's name."""
    sha256: str
    """Digest of the weights' file."""
    run: str
    """What identifies the run."""
    date: datetime
    """When the run began, UTC: the same in a resumed run, so that its files are byte-identical."""
    licence: str = ""
    """Licence of the footprints, as the weights or the config state it."""

    @property
    def title(self) -> str:
        """One line for people."""
        return f"Building footprints of {self.name}"

    @property
    def description(self) -> str:
        """One sentence for people."""
        return (
            f"Found by {self.model} (weights sha256 {self.sha256[:16]}) on {self.date:%Y-%m-%d}. {self.licence}".strip()
        )

    def entries(self) -> dict[str, str]:
        """Keys and values for formats that hold them."""
        entries = {
            "model": self.model,
            "weights_sha256": self.sha256,
            "run": self.run,
            "date": self.date.isoformat(timespec="seconds"),
            "licence": self.licence,
        }
        return {key: value for key, value in entries.items() if value}
