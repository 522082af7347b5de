"""Which files the scenes of a region are, and whether its output folder leaves them alone. Opens nothing."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pipeline.config import is_remote
from pipeline.names import REPORT, WORK

SUFFIXES = frozenset({".tif", ".tiff"})

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that are this machine: nobody sits between."""

Source = Path | str
"""A file, or the URL of one."""


def expand(
    entries: Sequence[str], hosts: Sequence[str], problems: list[str], output: Path | None = None
) -> list[Source]:
    """The scenes of files, folders, globs and URLs, sorted within each entry, each scene once.

    ``hosts`` are those that URLs may name. Sentences on entries that give nothing go to ``problems``. What runs have
    made in ``output`` is no scene to a glob above it: a region has the same scenes each time.
    """
    made = _real(output) if output and _is_made(output) else None
    found: dict[str, Source] = {}
    for entry in entries:
        if is_remote(entry):
            problem = remote_problem(entry, hosts)
            problems += [f"{_without_secrets(entry)}: {problem}"] if problem else []
            found |= {} if problem else {entry: entry}
            continue
        paths = list(_files(Path(entry), made))
        problems += [] if paths else [_nothing(entry)]
        for path in paths:
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _is_made(output: Path) -> bool:
    """Whether a run has begun in an output folder: before, no scene lay in it, or the run would have been refused."""
    return any((output / name).exists() for name in (WORK, REPORT))


def _files(entry: Path, made: Path | None) -> Iterator[Path]:
    if entry.is_dir():
        yield from (path for path in sorted(entry.iterdir()) if path.suffix.lower() in SUFFIXES)
    elif os.path.lexists(entry):
        yield entry
    else:
        yield from _matches(*_split_glob(entry), made)


def _matches(folder: Path, pattern: str, made: Path | None) -> Iterator[Path]:
    """The files of a glob, but for those in a folder that runs have ``made`` and that it does not point into."""
    if made and _real(folder).is_relative_to(made):
        made = None
    # pathlib's glob would not follow links to folders, which is how archives are put together
    for name in sorted(glob.glob(pattern, root_dir=folder, recursive=True)):  # noqa: PTH207
        path = folder / name
        if not (path.is_dir() or (made and _real(path).is_relative_to(made))):
            yield path


def _split_glob(entry: Path) -> tuple[Path, str]:
    """The folders that exist as written, and the pattern below them: brackets in a folder's name are no pattern."""
    folder = next(parent for parent in entry.parents if parent.is_dir())
    return folder, str(entry.relative_to(folder))


def _nothing(entry: str) -> str:
    if Path(entry).is_dir():
        return f"{entry}: this folder holds no .tif or .tiff"
    return f"{entry}: no {'file matches this pattern' if glob.has_magic(entry) else 'such file'}"


def remote_problem(url: str, hosts: Sequence[str]) -> str | None:
    """Why a scene that is not a local file is refused; None: it is allowed."""
    parts = _split_url(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no local file; scenes are files, folders, globs, or https:// addresses of hosts that remote lists"
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return "is not encrypted, and whoever sits between could change it; write https://"
    if parts.username is not None or parts.query or parts.fragment:
        return "carries a user, a query or a fragment; addresses end up in reports, so they must not hold secrets"
    if parts.hostname not in {host.lower() for host in hosts}:
        return f"is on {parts.hostname}, which remote does not list; to allow it: remote: [{parts.hostname}]"
    return None


def _without_secrets(url: str) -> str:
    """A URL as it may be repeated: without user, password, query and fragment."""
    scheme, separator, rest = url.partition("://")
    place = rest.split("?")[0].split("#")[0]
    host, slash, path = place.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}" if separator else url.split("?", maxsplit=1)[0]


def _split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return None if port == 0 else parts


def output_problems(output: Path, scenes: Sequence[Source], entries: Sequence[str]) -> list[str]:
    """Sentences on an output folder in which scenes would be lost, or that cannot be written."""
    return [f"output {output}: {problem}" for problem in (*_overlap(output, scenes, entries), *_unwritable(output))]


def _overlap(output: Path, scenes: Sequence[Source], entries: Sequence[str]) -> Iterator[str]:
    """Outputs beside scenes would overwrite them, or be taken for scenes the next time. Links are followed first."""
    real = _real(output)
    for scene in scenes:
        if isinstance(scene, Path) and _real(scene).is_relative_to(real):
            yield f"the scene {scene} lies inside it; choose another folder"
            return
    for entry in entries:
        if not is_remote(entry) and Path(entry).is_dir() and real.is_relative_to(_real(Path(entry))):
            yield f"it lies inside the scenes' folder {entry}; choose another folder, or list {entry}/*.tif"
            return


def _real(path: Path) -> Path:
    """Where links lead to; a link that leads to itself stays as it is, where ``Path.resolve`` raises."""
    return Path(os.path.realpath(path))


def _unwritable(output: Path) -> Iterator[str]:
    folder = output
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        yield f"{folder} is not a folder"
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield f"no permission to write in {folder}"
    elif folder == output:
        # a link at the place of an output would make us overwrite what it points to
        yield from (f"{path.name} in it is a link; remove it" for path in sorted(output.iterdir()) if path.is_symlink())
