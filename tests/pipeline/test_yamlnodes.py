"""Settings over a file: what replaces its keys is not blamed on the file."""

from pathlib import Path

import pytest

from pipeline import config
from pipeline.errors import InputError

FILE = "name: a\nscenes: [b.tif]\ntiles:\n  size: 512\n  halo: 96\n"


@pytest.mark.parametrize(
    ("text", "setting", "sentences"),
    [
        (FILE, "tiles={sise: 512}", ["--set tiles.sise: unknown key; did you mean tiles.size?"]),
        (FILE, "tiles={size: 500}", ["--set tiles.size: 500 is not a multiple of 32; nearest are 480 and 512"]),
        (FILE, "scenes=[a.tif, {b: c}]", ["--set scenes[1]: a section is not text"]),
        (FILE, "nix.sise=500", ["--set nix: unknown key; did you mean pixels?"]),
        (
            "just words",
            "name=y",
            ["region.yaml:1:1: 'just words' is not a section of keys", "--set name=y: the file is not a section"],
        ),
    ],
)
def test_the_sentence_names_the_setting(tmp_path: Path, text: str, setting: str, sentences: list[str]) -> None:
    path = tmp_path / "region.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        config.load(path, [setting])
    assert sorted(caught.value.problems) == sorted(sentences)
