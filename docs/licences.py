"""The licences of what this project depends on, as installed here: ``python docs/licences.py`` rewrites licences.md."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

FOLDER = Path(__file__).parent
HEAD = """# Licences of the dependencies

<!-- Made by `python docs/licences.py` from the metadata of the installed packages. -->

This project is MIT. It contains no code of the packages below; `pip` installs them. Tools that are used for testing
alone are not listed. GDAL (MIT), GEOS (LGPL-2.1) and PROJ (MIT) come inside rasterio, shapely, pyogrio and pyproj.

| package | needed for | licence |
|---|---|---|
"""
EXTRAS = ("train", "slurm", "peers")


def declared() -> Iterator[tuple[str, str]]:
    """(package, what for) of every dependency of pyproject.toml."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
    groups = {"running": project["dependencies"]} | {name: project["optional-dependencies"][name] for name in EXTRAS}
    for purpose, requirements in groups.items():
        for requirement in requirements:
            name = re.match(r"[A-Za-z0-9_.-]+", requirement)
            if name:
                yield name[0].lower(), purpose


def licence(package: str) -> str | None:
    """The licence that a package declares, in few words; None: it is not installed."""
    try:
        metadata = distribution(package).metadata
    except PackageNotFoundError:
        return None
    classifiers = [each for each in metadata.get_all("Classifier") or [] if each.startswith("License ::")]
    first_line = (metadata.get("License") or "").strip().split("\n")[0].rpartition(" :: ")[2]
    return metadata.get("License-Expression") or ", ".join(each.split(" :: ")[-1] for each in classifiers) or first_line


def page() -> str:
    """The text of licences.md."""
    rows = (
        f"| {package} | {purpose} | {licence(package) or 'not installed here'} |" for package, purpose in declared()
    )
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    (FOLDER / "licences.md").write_text(page())
