"""region.yaml: what is accepted, what it becomes, and the sentence for what is not."""

import json
import string
from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline import config, export, yamlnodes
from pipeline.errors import InputError

MINIMAL = "name: banepa\nscenes: [scenes/*.tif]\n"

CONTRACT = """
name: banepa
scenes: [scenes/*.tif]
output: out/banepa
area: boundary.geojson
remote: [data.example.org]
licence: CC BY 4.0
pixels:
  bands: [1, 2, 3]
  scale: auto
  nodata: auto
grid:
  crs: auto
  resolution: auto
  resample: false
model:
  name: ternausnet11
tiles:
  size: auto
  halo: auto
inference:
  device: auto
  precision: auto
  tta: none
footprints:
  threshold: auto
  min_area: 10
  min_hole: 5
  simplify: 0.3
  square: false
  split: false
  formats: [gpkg]
probability:
  cog: false
  masks: false
cluster:
  kind: local
  workers: auto
memory: auto
on_error: report
"""


def load(folder: Path, text: str, *overrides: str) -> config.Region:
    path = folder / "region.yaml"
    path.write_text(text)
    return config.load(path, overrides)


def problems(folder: Path, text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        load(folder, text, *overrides)
    return caught.value.problems


def test_the_contract_s_values_are_the_defaults(tmp_path: Path) -> None:
    written = load(tmp_path, CONTRACT)
    minimal = load(tmp_path, MINIMAL)
    optional = {"area", "remote", "licence"}
    assert written.model_dump(exclude=optional) == minimal.model_dump(exclude=optional)
    assert (written.area, written.remote, written.licence) == (
        tmp_path / "boundary.geojson",
        ("data.example.org",),
        "CC BY 4.0",
    )


def test_all_keys_can_be_overridden_one_by_one(tmp_path: Path) -> None:
    changed = {
        "name": "x", "scenes": "[/a.tif]", "output": "/o", "area": "/a.gpkg", "remote": "[h]", "licence": "CC0",
        "pixels.bands": "[3, 2, 1]", "pixels.scale": "[0, 4095]", "pixels.nodata": "0", "grid.crs": "EPSG:4326",
        "grid.resolution": "0.5", "grid.resample": "true", "model.name": "unet", "model.weights": "/w.safetensors",
        "tiles.size": "1024", "tiles.halo": "96", "inference.device": "cuda:1", "inference.precision": "bf16",
        "inference.tta": "d4", "footprints.threshold": "0.4", "footprints.min_area": "1", "footprints.min_hole": "2",
        "footprints.simplify": "0", "footprints.square": "true", "footprints.split": "true",
        "footprints.formats": "[parquet, geojson]", "probability.cog": "true", "probability.masks": "true",
        "cluster.kind": "cuda", "cluster.workers": "3", "cluster.gpus": "2", "memory": "8GiB", "on_error": "stop",
    }  # fmt: skip
    before = load(tmp_path, MINIMAL).model_dump()
    for key, value in changed.items():
        section, _, name = key.rpartition(".")
        after = load(tmp_path, MINIMAL, f"{key}={value}", *(["cluster.kind=cuda"] if key == "cluster.gpus" else []))
        there = after.model_dump()[section][name] if section else after.model_dump()[name]
        assert there != (before[section][name] if section else before[name]), key
    keys = {key for key in before if not isinstance(before[key], dict)}
    keys |= {f"{section}.{name}" for section in before if isinstance(before[section], dict) for name in before[section]}
    only_elsewhere = {f"cluster.{name}" for name, kinds in config.CLUSTER_KEYS.items() if "cuda" not in kinds}
    assert keys - only_elsewhere == changed.keys()


def test_paths_are_relative_to_the_file_and_overrides_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    region = load(tmp_path, MINIMAL + "area: ../a.gpkg\n", "model.weights=w.safetensors", "scenes=[s, https://h/a.tif]")
    assert region.area == tmp_path.parent / "a.gpkg"
    assert region.output == tmp_path / "out/banepa"
    assert region.model.weights == tmp_path / "elsewhere/w.safetensors"
    assert region.scenes == (str(tmp_path / "elsewhere/s"), "https://h/a.tif")


def test_text_is_text_and_numbers_are_numbers(tmp_path: Path) -> None:
    text = "name: NO\nscenes: [1e3, true]\nlicence: 007\nfootprints: {min_area: 1e-4, simplify: '2', square: yes}\n"
    region = load(tmp_path, text + "cluster: {kind: slurm, walltime: 12:30:00, memory: 1.5 GiB}\n")
    assert (region.name, region.licence, region.output.name) == ("NO", "007", "NO")
    assert [Path(scene).name for scene in region.scenes] == ["1e3", "true"]
    assert (region.footprints.min_area, region.footprints.simplify, region.footprints.square) == (1e-4, 2.0, True)
    assert (region.cluster.walltime, region.cluster.memory) == ("12:30:00", 3 << 29)


def test_a_region_is_frozen_and_an_empty_section_means_its_defaults(tmp_path: Path) -> None:
    region = load(tmp_path, MINIMAL + "tiles:\n  # size: 512\n")
    assert region.tiles == config.Tiles()
    with pytest.raises(ValueError, match="frozen"):
        region.name = "other"  # type: ignore[misc]


SENTENCES = {
    "": [
        "region.yaml:1:1 name: is missing; add it, e.g. name: banepa",
        "region.yaml:1:1 scenes: is missing; add it, e.g. scenes: [scenes/*.tif]",
    ],
    "- a": ["region.yaml:1:1: a list is not a section of keys"],
    MINIMAL + "tiles: {size: 500}": [
        "region.yaml:3:15 tiles.size: 500 is not a multiple of 32; nearest are 480 and 512"
    ],
    MINIMAL + "model: {name: albunet34}\ntiles:\n  size: 1056": [
        "region.yaml:5:9 tiles.size: 1056 is not a multiple of 64; nearest are 1024 and 1088"
    ],
    MINIMAL + "tiles: {size: 256}": [
        "region.yaml:3:15 tiles.size: 256 leaves nothing inside a halo of 128 + 160 px; the least is 320"
    ],
    MINIMAL + "tiles: {size: 256, halo: 200}": [
        "region.yaml:3:15 tiles.size: 256 leaves nothing inside a halo of 200 + 200 px; the least is 480"
    ],
    MINIMAL + "tiles: {size: 320}\ninference: {tta: d4}": [
        (
            "region.yaml:4:18 inference.tta: d4 turns the tile, "
            "so tiles.size 320 leaves nothing inside a halo of 160 + 160 px; the least is 352"
        )
    ],
    MINIMAL + "tiles: {sise: 512}": ["region.yaml:3:9 tiles.sise: unknown key; did you mean tiles.size?"],
    MINIMAL + "threshold: 0.3": ["region.yaml:3:1 threshold: unknown key; did you mean footprints.threshold?"],
    MINIMAL + "square: true": ["region.yaml:3:1 square: unknown key; did you mean footprints.square?"],
    MINIMAL + "name: b": ["region.yaml:3:1 name: is already given at line 1, column 1; remove one of the two"],
    MINIMAL + "pixels: {bands: [1, 2]}": ["region.yaml:3:17 pixels.bands[2]: is missing; add it"],
    MINIMAL + "pixels: {bands: [0, 1, 2]}": [
        "region.yaml:3:17 pixels.bands: [0, 1, 2] are not band numbers; they count from 1"
    ],
    MINIMAL + "pixels: {scale: [9, 1]}": [
        "region.yaml:3:17 pixels.scale: [9.0, 1.0] does not ascend; write [low, high]"
    ],
    MINIMAL + "pixels: {scale: [0, inf]}": ["region.yaml:3:21 pixels.scale[1]: 'inf' is not a finite number"],
    MINIMAL + "footprints: {threshold: 1}": ["region.yaml:3:25 footprints.threshold: '1' must be below 1"],
    MINIMAL + "footprints: {min_area: -1}": ["region.yaml:3:24 footprints.min_area: '-1' is too small; the least is 0"],
    MINIMAL + "footprints: {formats: [shp]}": [
        "region.yaml:3:24 footprints.formats[0]: 'shp' is not one of gpkg, parquet, flatgeobuf, geojson"
    ],
    MINIMAL + "footprints: {formats: []}": [
        "region.yaml:3:23 footprints.formats: is empty; it takes at least one value"
    ],
    MINIMAL + "footprints: {square: maybe}": ["region.yaml:3:22 footprints.square: 'maybe' is neither true nor false"],
    MINIMAL + "inference: {device: gpu}": [
        "region.yaml:3:21 inference.device: 'gpu' is not a device; use auto, cpu, cuda or cuda:N"
    ],
    MINIMAL + "inference: {device: " + "a" * 5000 + "}": [
        f"region.yaml:3:21 inference.device: '{'a' * 59}…' is not a device; use auto, cpu, cuda or cuda:N"
    ],
    MINIMAL + "memory: lots": ["region.yaml:3:9 memory: 'lots' is not a size; write e.g. 8GiB or 500MB"],
    MINIMAL + "memory: 8": ["region.yaml:3:9 memory: '8' is less than 1 MiB; write a unit, e.g. 8GiB"],
    MINIMAL + "cluster: {queue: gpu}": [
        "region.yaml:3:18 cluster.queue: belongs to cluster.kind slurm, not local; remove it"
    ],
    MINIMAL + "cluster: {kind: slurm, walltime: 90}": [
        "region.yaml:3:34 cluster.walltime: '90' is not a walltime; write HH:MM:SS or D-HH:MM:SS"
    ],
    MINIMAL + "cluster: {kind: address}": [
        "region.yaml:3:10 cluster.address: is missing; cluster.kind address needs it, e.g. address: tls://10.0.0.5:8786"
    ],
    MINIMAL + "on_error: stpo": ["region.yaml:3:11 on_error: 'stpo' is not one of report, stop; did you mean stop?"],
    "name: a/b\nscenes: [x]": [
        "region.yaml:1:7 name: 'a/b' is not a name; use letters, digits, '-', '_', '.' and spaces"
    ],
    "name: a\nscenes: x.tif": ["region.yaml:2:9 scenes: 'x.tif' is not a list; write [x.tif]"],
    MINIMAL + "footprints: {formats: geojson}": [
        "region.yaml:3:23 footprints.formats: 'geojson' is not a list; write [geojson]"
    ],
    "name: a\nscenes:": ["region.yaml:2:8 scenes: is empty; write a value, or remove the key"],
    "a: b: c": ["region.yaml:1:5 is not valid YAML: mapping values are not allowed in this context"],
    MINIMAL + "tiles:\n\tsize: 512": ["region.yaml:4:1 is not valid YAML: a tab cannot indent; use spaces"],
    MINIMAL + "---\nname: b": ["region.yaml:3:1 starts a second document; one file holds one"],
    "name: &a x\nscenes: [*a]": ["region.yaml:1:7: anchor &a is not accepted; write the value out"],
    "name: !!binary x": ["region.yaml:1:7: the tag tag:yaml.org,2002:binary is not accepted; remove it"],
    "? [a]\n: b": ["region.yaml:1:3: a key must be a plain word"],
    "a: " + "[" * 21: ["region.yaml:1:24 is nested deeper than 20 levels"],
    "a: [" + "b," * 50_001 + "]": ["region.yaml:1:99999: more than 50,000 values; list folders or globs instead"],
    "#" * (1 << 20) + "\n": ["region.yaml is larger than 1 MiB; list folders or globs instead of single scenes"],
}


@pytest.mark.parametrize(("text", "sentences"), SENTENCES.items(), ids=[text[-30:] for text in SENTENCES])
def test_the_sentence(tmp_path: Path, text: str, sentences: list[str]) -> None:
    assert list(problems(tmp_path, text)) == sentences


OVERRIDES = {
    "tiles.size": "--set tiles.size: is not of the form key.path=value, e.g. tiles.size=1024",
    "tiles.sise=1": "--set tiles.sise: unknown key; did you mean tiles.size?",
    "tiles.size=500": "--set tiles.size: 500 is not a multiple of 32; nearest are 480 and 512",
    "name.first=x": "--set name.first=x: name is not a section",
    "tiles.size=*a": "--set tiles.size=*a:1:1: alias *a is not accepted; write the value out",
    "tiles=" + "a" * 5000: "--set tiles: '" + "a" * 59 + "…' is not a section of keys",
    "tiles=x: " + "a" * 5000 + ": b": "--set tiles=x: "
    + "a" * 50
    + "…:1:5004 is not valid YAML: mapping values are not allowed in this context",
    "scenes=[": "--set scenes=[:2:1 is not valid YAML: did not find expected node content",
}


@pytest.mark.parametrize(("setting", "sentence"), OVERRIDES.items())
def test_the_sentence_of_an_override(tmp_path: Path, setting: str, sentence: str) -> None:
    assert problems(tmp_path, MINIMAL, setting) == (sentence,)


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = "scenes: []\nmemory: x\ntiles: {halo: -1, size: z}\nname: x\nmemory: y\n"
    found = problems(tmp_path, text, "on_error=x", "nix")
    places = ["region.yaml:5:1", "--set nix", "--set on_error", *(f"region.yaml:{n}:" for n in ("1", "2", "3", "3"))]
    assert [a[: len(b)] for a, b in zip(found, places, strict=True)] == places


def test_unreadable_files_have_their_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nix\.yaml: cannot be read: No such file or directory"):
        config.load(tmp_path / "nix.yaml")
    (tmp_path / "region.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(InputError, match=r"region.yaml is not UTF-8 text \(byte 6\); save it as UTF-8"):
        config.load(tmp_path / "region.yaml")


def test_a_problem_stays_one_printable_line(tmp_path: Path) -> None:
    (sentence,) = problems(tmp_path, MINIMAL + '"\\e[2Jx\\ny": 1')
    assert sentence == r"region.yaml:3:1 \x1b[2Jx\ny: unknown key; did you mean pixels?"


def test_the_worst_file_within_the_limits_is_judged(tmp_path: Path) -> None:
    found = problems(tmp_path, "".join(f"key{number}: [a, b, c]\n" for number in range(9_999)))
    assert len(found) == 101
    assert found[-1] == "and 9,901 more problems"


words = st.text(string.ascii_letters + string.digits + "_-/. ", min_size=1, max_size=12).map(lambda s: f"x{s.strip()}")
trees = st.recursive(
    words, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=15
)


@given(st.dictionaries(words, trees, min_size=1, max_size=5), st.booleans())
def test_the_reader_agrees_with_yaml_s_own(tree: dict[str, object], flow: bool) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, sort_keys=False)
    document = yamlnodes.parse(text, "x.yaml", Path())
    assert document.root == yaml.load(text, yaml.BaseLoader)  # noqa: S506 - BaseLoader only makes text
    lines = text.splitlines()
    for path, place in document.keys.items():
        assert lines[place.line - 1][place.column - 1 :].lstrip("'\"? ").startswith(str(path[-1])[:5])


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused_in_a_sentence(text: str) -> None:
    try:
        document = yamlnodes.parse(text, "x.yaml", Path())
        told = ()
    except InputError as error:
        document, told = None, error.problems
    assert document or told
    assert all(problem.startswith("x.yaml") for problem in told)


@pytest.mark.parametrize("nodata", ["nan", "-inf", "-9999", "auto"])
def test_a_region_is_json_also_with_what_json_has_no_number_for(tmp_path: Path, nodata: str) -> None:
    content = load(tmp_path, MINIMAL + f"pixels: {{nodata: {nodata}}}\n").model_dump(mode="json")
    assert json.loads(json.dumps(content, allow_nan=False)) == content, "a nan as a number does not equal itself"
    assert str(config.Pixels.model_validate(content["pixels"]).nodata).startswith(nodata)


def test_the_schema_for_editors_is_current() -> None:
    stored = Path(__file__).parents[2] / "configs/region.schema.json"
    assert json.loads(stored.read_text()) == config.json_schema(), (
        "python -m pipeline.config > configs/region.schema.json"
    )


def test_every_key_is_described() -> None:
    schema = config.json_schema()
    sections = {name: each for name, each in schema["$defs"].items() if each["type"] == "object"}
    undescribed = [
        f"{name}.{key}"
        for name, section in {"Region": schema, **sections}.items()
        for key, value in section["properties"].items()
        if not value.get("description") and "$ref" not in value and value.get("default", 0) != {}
    ]
    assert not [key for key in undescribed if key.split(".")[1] not in config.Region.model_fields]
    assert all(section["description"] for section in sections.values())


def test_configs_that_come_with_the_project_are_valid() -> None:
    configs = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    for path in (path for path in configs if not path.name.startswith("train-")):
        assert config.load(path).name


def test_every_format_that_may_be_named_can_be_written() -> None:
    assert set(get_args(config.Format)) == set(export.FORMATS)
