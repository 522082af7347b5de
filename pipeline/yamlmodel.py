"""A YAML file as a pydantic model, or every problem in it as a sentence: its place, its key, the rule and the cure."""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from pipeline import yamlnodes
from pipeline.errors import InputError
from pipeline.yamlnodes import Document, Key, dotted, shortened

# a default that is made from another value is not made when that one is wrong, and the other one is told
FOLLOWING = frozenset({"default_factory_not_called"})
PROBLEMS_MAX = 100  # nobody reads more, and looking for the nearest key takes a millisecond each

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Auto = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[T, Tag("value")],
    Discriminator(lambda value: "auto" if value == "auto" else "value"),
]
"""A value, or the word auto."""


class Section(BaseModel):
    """A mapping of the YAML file: frozen, and it knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def at(key: str, sentence: str) -> PydanticCustomError:
    """An error of the value ``key`` inside the section that is being checked."""
    return PydanticCustomError("at", "{sentence}", {"key": key, "sentence": sentence})


def shown(value: object) -> str:
    """A value as it is repeated to the user: short, on one line."""
    if isinstance(value, dict | list):
        return "a section" if isinstance(value, dict) else "a list"
    return "empty" if value is None else repr(shortened(str(value)))


def no_choice(value: object, choices: Sequence[str]) -> str:
    """That ``value`` is none of ``choices``, with the nearest one."""
    near = get_close_matches(str(value)[:100], choices, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{shown(value)} is not one of {', '.join(choices)}{hint}"


def load_model(path: Path, overrides: Sequence[str], model: type[M]) -> M:
    """A YAML file as ``model``; ``overrides`` are ``key.path=value``, with paths relative to the working directory.

    Raises:
        InputError: every problem of the file and the overrides.
    """
    document = yamlnodes.read(path)
    problems = yamlnodes.override(document, overrides, Path.cwd())
    try:
        result = model.model_validate(_without_empty_sections(document.root, model))
    except ValidationError as error:
        problems += _sentences(document, model, error)
    if document.problems or problems:
        raise InputError(*document.problems, *problems)
    return result


def _without_empty_sections(root: object, model: type[BaseModel]) -> object:
    """A section with nothing under it, or all of it in comments, means its defaults."""
    if not isinstance(root, dict):
        return root
    return {key: value for key, value in root.items() if value is not None or not _is_section(model, key)}


def _is_section(model: type[BaseModel], key: str) -> bool:
    kind = model.model_fields[key].annotation if key in model.model_fields else None
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _sentences(document: Document, model: type[BaseModel], error: ValidationError) -> list[str]:
    """The sentences of a validation error, in the order of the file."""
    details = [each for each in error.errors(include_url=False) if each["type"] not in FOLLOWING]
    told = sorted(_sentence(document, model, each) for each in details[:PROBLEMS_MAX])
    more = len(details) - PROBLEMS_MAX
    return [sentence for _, sentence in told] + ([f"and {more:,} more problems"] if more > 0 else [])


def _sentence(document: Document, model: type[BaseModel], error: ErrorDetails) -> tuple[tuple[int, int], str]:
    """An error of pydantic as our sentence, and its place to sort by."""
    path = _written(document, error["loc"])
    if error["type"] == "at":
        path = (*path, error["ctx"]["key"])
    if error["type"] == "extra_forbidden":
        place, text = document.keys[path], _unknown(model, path)
    elif error["type"] == "missing":
        place, text = document.place(path), f"is missing; add it{_example(model, path)}"
    else:
        place, text = document.place(path), SENTENCES.get(error["type"], _pydantic)(error)
    return (place.line, place.column), f"{place}{' ' * bool(path)}{dotted(path)}: {text}"


def _example(model: type[BaseModel], path: Key) -> str:
    """How a missing key of the outermost level is written."""
    field = model.model_fields.get(str(path[0])) if len(path) == 1 else None
    return f", e.g. {path[0]}: {field.examples[0]}" if field and field.examples else ""


def _written(document: Document, loc: tuple[str | int, ...]) -> Key:
    """The path of an error as it is written in the file: without the tags of unions."""
    path: Key = ()
    for part in loc:
        if (*path, part) in document.values or part not in ("auto", "value"):
            path = (*path, part)
    return path


def _unknown(model: type[BaseModel], path: Key) -> str:
    """What an unknown key was probably meant to be: the same word in another section, else its nearest sibling."""
    known = {dotted(key): key for key in _keys(model)}
    siblings = {str(key[-1]): text for text, key in known.items() if key[:-1] == path[:-1]}
    word = str(path[-1])[:100]
    near = [text for text in known if text.split(".")[-1] == word] or get_close_matches(word, siblings, 1, 0.0)
    return f"unknown key; did you mean {siblings.get(near[0], near[0])}?" if near else "unknown key; remove it"


def _keys(model: type[BaseModel], path: Key = ()) -> list[Key]:
    found: list[Key] = []
    for name, info in model.model_fields.items():
        found.append((*path, name))
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found += _keys(info.annotation, (*path, name))
    return found


def _must(rule: str) -> Callable[[ErrorDetails], str]:
    def sentence(error: ErrorDetails) -> str:
        if error["input"] is None:
            return "is empty; write a value, or remove the key"
        return f"{shown(error['input'])} {rule.format(**error.get('ctx', {}))}"

    return sentence


def _pydantic(error: ErrorDetails) -> str:
    return error["msg"]


def _literal(error: ErrorDetails) -> str:
    return no_choice(error["input"], re.findall(r"'([^']*)'", error["ctx"]["expected"]))


def _in_list(value: object) -> str:
    """What to write between the brackets of a list."""
    return shortened(value) if isinstance(value, str) else "a, b"


SENTENCES: dict[str, Callable[[ErrorDetails], str]] = {
    "literal_error": _literal,
    "int_parsing": _must("is not a whole number"),
    "int_type": _must("is not a whole number"),
    "int_from_float": _must("is not a whole number"),
    "int_parsing_size": _must("is too large"),
    "float_parsing": _must("is not a number"),
    "float_type": _must("is not a number"),
    "finite_number": _must("is not a finite number"),
    "bool_parsing": _must("is neither true nor false"),
    "bool_type": _must("is neither true nor false"),
    "string_type": _must("is not text"),
    "string_too_long": _must("is longer than {max_length} characters"),
    "path_type": _must("is not a path"),
    "greater_than": _must("must be above {gt:g}"),
    "greater_than_equal": _must("is too small; the least is {ge:g}"),
    "less_than": _must("must be below {lt:g}"),
    "less_than_equal": _must("is too large; the most is {le:g}"),
    "tuple_type": lambda error: _must(f"is not a list; write [{_in_list(error['input'])}]")(error),
    "too_long": lambda error: f"has {error['ctx']['actual_length']} values; it takes {error['ctx']['max_length']}",
    "too_short": lambda error: (
        f"has {error['ctx']['actual_length']} values; it takes at least {error['ctx']['min_length']}"
    ),
    "model_type": _must("is not a section of keys"),
}
