"""The reference pages of the YAML files, made from their schemas: ``python docs/reference.py`` rewrites them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.config import Region
from pipeline.training.settings import Training

FOLDER = Path(__file__).parent
HEAD = {
    "region.md": """# region.yaml, key by key

A region.yaml says which scenes make a region, which network looks at them, and what comes out. Only `name` and
`scenes` are required. `python -m pipeline.run --init scenes/` writes one from the scenes' headers; an editor that knows
YAML schemas completes and checks it by `configs/region.schema.json`.

Paths are relative to the file, those after `--set` to where you are. Unknown keys, keys given twice and values that do
not fit are refused, all at once, each with line and column. Any key can be overridden: `--set footprints.square=true`.
""",
    "train.md": """# train.yaml, key by key

A train.yaml says what a network learns from, and how; `configs/train-inria-ternausnet11.yaml` is one to start from, and
[Inria end to end](inria.md) uses it. Paths are relative to the file, those after `--set` to where you are. Any key can
be overridden: `--set recipe.batch=2`.
""",
}
MODELS: dict[str, type[BaseModel]] = {"region.md": Region, "train.md": Training}
NOTE = "\n<!-- Made by `python docs/reference.py` from the descriptions in the code; change them there. -->\n"


def page(name: str) -> str:
    """The text of a reference page."""
    schema = MODELS[name].model_json_schema()
    return "\n".join([HEAD[name] + NOTE, *_sections(schema)])


def _sections(schema: dict[str, Any]) -> Iterator[str]:
    """The table of the outermost plain keys, then each section."""
    properties = schema["properties"]
    plain = {key: facts for key, facts in properties.items() if _section(schema, facts) is None}
    yield _table(plain, schema["required"])
    for key, facts in properties.items():
        section = _section(schema, facts)
        if section is not None:
            said = [each["description"] for each in (section[1], facts) if "description" in each]
            yield f"## {key}{section[0]}\n\n{_prose(' '.join(said))}\n"
            yield _nested(schema, section[1])


def _nested(schema: dict[str, Any], definition: dict[str, Any]) -> str:
    """The table of a section: its own keys, each followed by those inside it, which no schema nests deeper."""
    keys: dict[str, Any] = {}
    for key, facts in definition["properties"].items():
        section = _section(schema, facts)
        inner = section[1]["properties"] if section else {}
        own = {"type": "object", "description": facts.get("description", "")} if section else facts
        keys |= {key: own} | {f"{key}.{name}": each for name, each in inner.items()}
    return _table(keys, definition.get("required", ()))


def _section(schema: dict[str, Any], facts: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The definition that a key refers to, with what its heading adds; None for a plain key."""
    values = facts.get("additionalProperties")
    reference = facts.get("$ref") or (values.get("$ref") if isinstance(values, dict) else None)
    if reference is None:
        return None
    return ("" if "$ref" in facts else ": one section for each name"), schema["$defs"][reference.rpartition("/")[2]]


def _table(keys: dict[str, Any], required: Any) -> str:
    rows = ["| key | value | default | |", "|---|---|---|---|"]
    for key, facts in keys.items():
        about = facts.get("description", "")
        default = "required" if key in required and "default:" not in about else _default(facts)
        rows.append(f"| `{key}` | {_kind(facts)} | {default} | {_prose(about)} |".replace("  ", " "))
    return "\n".join(rows) + "\n"


def _prose(text: str) -> str:
    """A description as Markdown: its signs mean themselves."""
    for sign, written in (("<", "&lt;"), (">", "&gt;"), ("*", "\\*"), ("_", "\\_"), ("|", "\\|")):
        text = text.replace(sign, written)
    return text


def _default(facts: dict[str, Any]) -> str:
    value = facts.get("default")
    if value is None or value == "":
        return ""
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


NAMES = {"boolean": "true, false", "integer": "whole number", "number": "number", "string": "text", "object": "mapping"}


def _kind(facts: dict[str, Any]) -> str:
    """What a value may be, in words."""
    choices = facts.get("anyOf") or facts.get("oneOf")
    if choices:
        return " or ".join(_kind(choice) for choice in choices if choice.get("type") != "null")
    if "const" in facts or "enum" in facts:
        return ", ".join(f"`{value}`" for value in facts.get("enum", [facts.get("const")]))
    if facts.get("type") == "array":
        return _list(facts)
    if isinstance(facts.get("type"), list):
        return f"e.g. `{facts['examples'][0]}`"
    return "path" if facts.get("format") == "path" else NAMES[facts["type"]] + _limits(facts)


def _list(facts: dict[str, Any]) -> str:
    fixed = facts.get("prefixItems")
    return f"[{', '.join(_kind(each) for each in fixed)}]" if fixed else f"list of {_kind(facts['items'])}"


def _limits(facts: dict[str, Any]) -> str:
    """The range of a number."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {facts[key]:,}" for key, sign in signs.items() if key in facts]
    return f" {' and '.join(found)}" if found else ""


if __name__ == "__main__":
    for each in HEAD:
        (FOLDER / each).write_text(page(each), encoding="utf-8")
