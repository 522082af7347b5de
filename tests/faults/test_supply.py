"""What the project runs that it did not write: no unsafe loading outside the one loader, and known licences."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PERMISSIVE = r"MIT|BSD|Apache|ISC|Zlib|PSF|Python Software Foundation|MPL-2\.0|HPND"
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "telnetlib", "xmlrpc"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "os.system", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
LOADER = "models/torchfiles.py"


def modules() -> Iterator[tuple[str, ast.AST]]:
    for package in ("pipeline", "models", "tiling"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_nothing_is_unpickled_and_nothing_is_evaluated() -> None:
    for name, tree in modules():
        imported = {
            alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & UNSAFE_MODULES, name
        assert not {ast.unparse(call.func) for call in calls(tree)} & UNSAFE_CALLS, name
        assert not [call for call in calls(tree) for word in call.keywords if word.arg == "shell"], name
        allowed = [word for call in calls(tree) for word in call.keywords if word.arg == "allow_pickle"]
        assert all(isinstance(word.value, ast.Constant) and word.value.value is False for word in allowed), name


def test_only_the_one_loader_reads_files_of_torch_and_only_safely() -> None:
    found = [(name, call) for name, tree in modules() for call in calls(tree) if ast.unparse(call.func) == "torch.load"]
    assert {name for name, _ in found} == {LOADER}
    for _, call in found:
        assert "True" in [ast.unparse(word.value) for word in call.keywords if word.arg == "weights_only"]


def test_every_dependency_is_listed_with_a_licence_that_is_permissive() -> None:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "docs/licences.py")
    assert spec
    assert spec.loader
    licences = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(licences)
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", (ROOT / "docs/licences.md").read_text(), re.MULTILINE)
    assert [row[:2] for row in rows if row[0] not in ("package", "---")] == list(licences.declared())
    for package, _, listed in rows[1:]:
        installed = licences.licence(package)
        assert re.search(PERMISSIVE, installed or listed), package


@pytest.mark.parametrize("word", ["report", "promise", "scenes", "weights", "network"])
def test_the_security_policy_says_what_is_promised_and_how_to_report(word: str) -> None:
    assert word in (ROOT / "SECURITY.md").read_text().lower()
