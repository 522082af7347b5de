"""YAML with positions, as text: what a value means is decided by the schema that reads it, never by YAML's own guesses.

So ``name: NO`` stays "NO" where text is wanted, and ``1e-4`` is a number where a number is wanted. Anchors, aliases,
tags and duplicate keys are refused: nobody needs them here, and they are how small files become large ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import InputError

BYTES_MAX = 1 << 20  # a region of 10,000 listed scenes needs about half of it
DEPTH_MAX = 20  # the schemas need 4; parsers and people get lost far below it
NODES_MAX = 50_000  # bounds time (1 s) and memory of the densest 1 MiB there is
NULLS = frozenset({"", "~", "null", "Null", "NULL"})  # YAML 1.2 core schema, section 10.3.2

Key = tuple[str | int, ...]
"""The way to a value: keys and positions in lists, from the outside."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster, and always in the wheels


class Scalar(str):
    """The text of a scalar, which knows the folder that a path in it is relative to."""

    base: Path

    @classmethod
    def of(cls, text: str, base: Path) -> "Scalar":
        """``text``, with its folder."""
        scalar = cls(text)
        scalar.base = base
        return scalar


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key or a value is written."""

    source: str
    """Name of the file, or ``--set``."""
    line: int = 0
    """Counted from 1; 0 where lines mean nothing."""
    column: int = 0
    """Counted from 1."""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(slots=True)
class Document:
    """A parsed YAML file: nested dicts and lists of ``Scalar`` or None, with the place of each key and value."""

    root: object
    """The outermost value."""
    keys: dict[Key, Place] = field(default_factory=dict)
    """Place of each key."""
    values: dict[Key, Place] = field(default_factory=dict)
    """Place of each value."""
    problems: list[str] = field(default_factory=list)
    """Sentences on duplicate keys."""

    def place(self, path: Key) -> Place:
        """The place of the value at ``path``, else of the nearest thing around it."""
        while path not in self.values:
            path = path[:-1]
        return self.values[path]


def read(path: Path) -> Document:
    """The YAML file at ``path``; paths inside are relative to its folder.

    Raises:
        InputError: it cannot be read, is too large, or is not the plain YAML that is accepted here.
    """
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(data) > BYTES_MAX:
        raise InputError(f"{path.name} is larger than 1 MiB; list folders or globs instead of single scenes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    document = parse(text, path.name, path.resolve().parent)
    if document.root is None:  # empty, or comments only
        document.root = {}
    return document


def parse(text: str, source: str, base: Path) -> Document:
    """Parse ``text``; ``source`` names it in sentences and ``base`` is the folder of its relative paths.

    Raises:
        InputError: syntax that is wrong, or right but refused here.
    """
    document = Document(None, values={(): Place(source, 1, 1)})
    try:
        _Builder(text, source, base, document).run()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(source, mark.line + 1, mark.column + 1) if mark else Place(source)
        tab = mark and text[mark.index : mark.index + 1] == "\t"
        cure = "a tab cannot indent; use spaces" if tab else error.problem or error.context
        raise InputError(f"{place} is not valid YAML: {cure}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from error
    return document


class _Builder:
    """Builds a document from parser events, so that limits hold before anything grows."""

    def __init__(self, text: str, source: str, base: Path, document: Document) -> None:
        self.events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self.source, self.base, self.document = source, base, document
        self.nodes = 0

    def run(self) -> None:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.nodes:
                    raise InputError(f"{self.place(event)} starts a second document; one file holds one")
                self.document.root = self.value(next(self.events), ())

    def place(self, event: Any) -> Place:
        return Place(self.source, event.start_mark.line + 1, event.start_mark.column + 1)

    def value(self, event: Any, path: Key) -> object:
        self.check(event, path)
        self.document.values[path] = self.place(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path)
        if event.implicit[0] and event.value in NULLS:
            return None
        return Scalar.of(event.value, self.base)

    def check(self, event: Any, path: Key) -> None:
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise InputError(f"{self.place(event)}: more than {NODES_MAX:,} values; list folders or globs instead")
        if len(path) > DEPTH_MAX:
            raise InputError(f"{self.place(event)} is nested deeper than {DEPTH_MAX} levels")
        if getattr(event, "anchor", None) is not None:
            mark = "alias *" if isinstance(event, yaml.AliasEvent) else "anchor &"
            raise InputError(f"{self.place(event)}: {mark}{event.anchor} is not accepted; write the value out")
        if getattr(event, "tag", None) is not None:
            raise InputError(f"{self.place(event)}: the tag {event.tag} is not accepted; remove it")

    def mapping(self, path: Key) -> dict[str, object]:
        result: dict[str, object] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            self.check(event, path)
            if not isinstance(event, yaml.ScalarEvent):
                raise InputError(f"{self.place(event)}: a key must be a plain word")
            self.entry(result, (*path, event.value), event)
        return result

    def entry(self, result: dict[str, object], path: Key, event: Any) -> None:
        """One ``key: value``; of duplicates the first counts, and both are named."""
        if event.value in result:
            first = self.document.keys[path]
            self.document.problems.append(
                f"{self.place(event)} {dotted(path)}: is already given at line {first.line}, column {first.column}; "
                "remove one of the two"
            )
            self.value(next(self.events), (*path[:-1], f"{event.value} (again)"))
            return
        self.document.keys[path] = self.place(event)
        result[event.value] = self.value(next(self.events), path)

    def sequence(self, path: Key) -> list[object]:
        result: list[object] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            result.append(self.value(event, (*path, len(result))))
        return result


def dotted(path: Key) -> str:
    """A key path as people write it: ``tiles.size``, ``scenes[2]``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def shortened(text: str) -> str:
    """``text``, cut where it is too long to be repeated to the user."""
    return text if len(text) <= 60 else text[:59] + "…"


def override(document: Document, settings: Sequence[str], base: Path) -> list[str]:
    """Apply ``key.path=value`` settings; values are YAML, paths in them relative to ``base``. Returns the problems."""
    problems: list[str] = []
    for setting in settings:
        try:
            _override(document, setting, base)
        except InputError as error:
            problems.extend(error.problems)
    return problems


def _override(document: Document, setting: str, base: Path) -> None:
    name, equals, text = setting.partition("=")
    setting = shortened(setting)  # as it is repeated below
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise InputError(f"--set {setting}: is not of the form key.path=value, e.g. tiles.size=1024")
    value = parse(text, f"--set {setting}", base)
    if value.problems:
        raise InputError(*value.problems)
    section = _section(document, path[:-1])
    if section is None:
        raise InputError(f"--set {setting}: {dotted(path[:-1]) or 'the file'} is not a section")
    section[path[-1]] = value.root
    _set_places(document, path, value)


def _section(document: Document, path: tuple[str, ...]) -> dict[str, Any] | None:
    """The section at ``path``, made where there is none; None: something else is there."""
    target = document.root
    for depth, part in enumerate(path, start=1):
        if not isinstance(target, dict):
            return None
        if target.get(part) is None:
            target[part] = {}
            document.keys[path[:depth]] = document.values[path[:depth]] = Place("--set")
        target = target[part]
    return target if isinstance(target, dict) else None


def _set_places(document: Document, path: tuple[str, ...], value: Document) -> None:
    """Everything below ``path`` was set, and nothing of what the file has there is left."""
    for places in (document.keys, document.values):
        for old in [key for key in places if key[: len(path)] == path]:
            del places[old]
    document.keys |= {(*path, *key): Place("--set") for key in [(), *value.keys]}
    document.values |= {(*path, *key): Place("--set") for key in value.values}
