"""The documentation is true: commands run or parse, sentences and files exist, reference pages are current."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import imagery
import pytest
import yaml
from affine import Affine
from small import write_weights

from pipeline import config, evaluate, run, survey, train
from pipeline.render import __main__ as render
from pipeline.training.settings import Training
from pipeline.yamlmodel import load_model

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMANDS = ("python", "python3", ".venv/bin/python", "torchrun")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *languages: str) -> list[str]:
    """Fenced blocks of some languages."""
    return [text for language, text in FENCE.findall(page.read_text()) if language in languages]


def commands(page: Path) -> Iterator[list[str]]:
    """Command lines of this project on a page: in shell blocks, and alone on an indented line."""
    prose = FENCE.sub("", page.read_text())
    shell = [line.removeprefix("$ ") for text in blocks(page, "bash", "console", "sh") for line in joined(text)]
    indented = re.findall(r"^ {4,}(\S.*)$", "\n".join(joined(prose)), re.MULTILINE)
    for line in (*shell, *indented):
        for part in re.split(r"&&|\|\|?|;", line):
            words = shlex.split(part, comments=True) if re.match(rf"\s*({'|'.join(COMMANDS)})\s", part) else []
            if "-m" in words:
                yield words[words.index("-m") + 1 :]


def joined(text: str) -> list[str]:
    """Lines, with those that a backslash continues."""
    return text.replace("\\\n", " ").splitlines()


ALL = [(page, words) for page in PAGES for words in commands(page)]


def named(case: tuple[Path, list[str]]) -> str:
    return f"{case[0].name}: {' '.join(case[1])[:60]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shell_blocks_are_shell(page: Path) -> None:
    for text in blocks(page, "bash", "sh"):
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert not done.stderr


@pytest.mark.parametrize(("page", "words"), ALL, ids=map(named, ALL))
def test_commands_are_understood(page: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option exists, and every file of this project that is named; what needs more is run further below."""
    monkeypatch.chdir(ROOT)
    module, arguments = words[0], [re.sub(r"\$\{?\w+\}?", "x", word) for word in words[1:]]
    if module == "pipeline.run":
        options = run.parse(arguments)
        if options.init is None and ours(options.region):
            config.load(options.region, options.set)
    elif module == "pipeline.train":
        options = train.parse(arguments)
        if ours(options.settings):
            load_model(options.settings, options.set, Training)
    elif module == "pipeline.evaluate":
        options = evaluate.parse(arguments)
        assert options.held_out is None or not ours(options.held_out) or options.held_out.exists()
    elif module == "pipeline.render":
        render.parser().parse_args(arguments)
    elif module == "pytest":
        assert all(Path(word.partition("::")[0]).exists() for word in arguments if word.startswith("tests"))
    else:
        assert (
            module in {"venv", "pip", "http.server"}
            or (ROOT / f"{module.replace('.', '/')}.py").exists()
            or (ROOT / module.replace(".", "/") / "__main__.py").exists()
        ), f"{page.name}: what is python -m {module}?"


def ours(path: Path) -> bool:
    """Whether a page names a file of this project, which then must be there; others are the reader's."""
    return path.parts[0] in {"configs", "docs", "models", "tests"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the pages assume it: scenes of one's own, and the Inria data beside the project."""
    project = tmp_path / "seamless-footprints"
    (project / "configs").mkdir(parents=True)
    (project / "configs/inria.yaml").write_text((ROOT / "configs/inria.yaml").read_text())
    places = ["bellingham", "bloomington", "innsbruck", "sfo", "tyrol-e"]
    scenes = [project / "scenes/a.tif", project / "scenes/b.tif"]
    scenes += [tmp_path / f"AerialImageDataset/test/images/{each}{n}.tif" for each in places for n in (1, 2)]
    for number, path in enumerate(scenes):
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = Affine(0.3, 0, 500_000 + 90 * (number % 2), 0, -0.3, 5_300_000)
        imagery.write(path, imagery.noise(300, 300, number), transform=affine)
    monkeypatch.chdir(project)
    return project


def shell(text: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a block of a page as the reader would."""
    script = text.replace("python -m", f"{shlex.quote(sys.executable)} -m")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=place, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_your_data_starts_as_the_page_says(place: Path) -> None:
    """--init, then --dry-run, with weights of the test's own where none come with the project yet."""
    weights = write_weights(place / "weights.safetensors")
    text = blocks(ROOT / "docs/your-data.md", "bash")[0]
    done = shell(text.replace("--dry-run", f"--dry-run --set model.weights={weights}"), place)
    assert done.returncode == 0, done.stderr
    assert "300 × 600 px, 2 scenes" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr  # no colours where no terminal is


def test_every_region_of_inria_is_found(place: Path) -> None:
    """The loop over the regions, as it stands on the page, with the plan instead of the run."""
    weights = write_weights(place / "weights.safetensors")
    text = next(text for text in blocks(ROOT / "docs/inria.md", "bash") if "for place in" in text)
    regions = re.search(r"for place in (.*?);", text)
    assert regions is not None
    for name in regions[1].split():
        words = next(words for page, words in ALL if page.name == "inria.md" and "name=$place" in words)
        options = run.parse([word.replace("$place", name) for word in words[1:]])
        region = config.load(options.region, [*options.set, f"model.weights={weights}"])
        assert (region.name, region.probability.masks) == (name, True)
        assert region.output == place / "out/inria" / name
        assert len(survey.survey(region).scenes) == 2


YAMLS = [(page, text) for page in PAGES for text in blocks(page, "yaml")]


@pytest.mark.parametrize(("page", "text"), YAMLS, ids=[f"{page.name}-{n}" for n, (page, _) in enumerate(YAMLS)])
def test_yaml_on_the_pages_is_accepted(page: Path, text: str, tmp_path: Path) -> None:
    """Each is a region.yaml, or a part of one; those that train have data."""
    keys = yaml.safe_load(text)
    path = tmp_path / "x.yaml"
    if "data" in keys or "recipe" in keys:
        path.write_text(text if "name" in keys else f"name: x\noutput: out\ndata: {{a: {{kind: rendered}}}}\n{text}")
        assert load_model(path, [], Training).data
        return
    missing = [line for key, line in (("name", "name: x"), ("scenes", "scenes: [x.tif]")) if key not in keys]
    path.write_text("\n".join([*missing, text]))
    assert config.load(path).scenes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", FENCE.sub("", page.read_text())):
        assert re.match(r"[a-z]+:", target) or (page.parent / target).exists(), f"{page.name} links to {target}"


def sentences() -> list[str]:
    """What the left column of the troubleshooting page quotes."""
    text = (ROOT / "docs/troubleshooting.md").read_text()
    return [row for row in re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE) if row != "it says"]


@pytest.fixture(scope="module")
def code() -> str:
    """All source text, with the joints between adjacent string literals taken out."""
    texts = (path.read_text() for folder in ("pipeline", "models", "tiling") for path in (ROOT / folder).rglob("*.py"))
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(texts))


@pytest.mark.parametrize("sentence", sentences())
def test_the_code_still_says_so(sentence: str, code: str) -> None:
    for part in re.split(r"…", sentence):
        assert part.strip(" ;,:") in code


@pytest.mark.parametrize("name", ["region.md", "train.md"])
def test_reference_pages_are_current(name: str) -> None:
    made = runpy.run_path(str(ROOT / "docs/reference.py"))["page"](name)
    assert (ROOT / "docs" / name).read_text() == made, "python docs/reference.py"


def test_the_citation_is_what_its_standard_asks_for() -> None:
    """Citation File Format 1.2.0: the four required keys, and a version that is the package's."""
    text = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= text.keys()
    assert f'version = "{text["version"]}"' in (ROOT / "pyproject.toml").read_text()
