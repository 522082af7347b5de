"""Every layout of data: which scenes train, which are held out, and that labels lie where the buildings are."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from places import PIXEL, SIDE, TRANSFORM, place, write_tif, write_voc
from pydantic import ValidationError
from rasterio.features import rasterize

from models.metrics import IGNORE
from pipeline.errors import InputError
from pipeline.training import datasets
from pipeline.training.scenes import opened, read_image, read_labels
from pipeline.training.settings import DataSet
from tiling.grid import Span, Window


def names(scenes: tuple[datasets.LabelledScene, ...]) -> list[str]:
    return [scene.image.stem for scene in scenes]


def test_inria_holds_out_scenes_one_to_five_of_each_city(root: Path) -> None:
    split = datasets.find("inria", DataSet(kind="inria", folder=str(root / "inria")), root)
    assert names(split.training) == ["austin6", "tyrol-w7"]
    assert names(split.validation) == ["austin1", "tyrol-w2"]
    assert [scene.source for scene in split.validation] == ["austin", "tyrol-w"]
    assert (read_labels(split.validation[0], split.validation[0].part) == (place(0).mask > 0)).all()
    assert (read_image(split.validation[0], split.validation[0].part) == place(0).image).all()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/mnt/disk1/austin36.tif", ("austin", 36)),
        ("x/tyrol-e3.tif", ("tyrol-e", 3)),
        ("2015/kitsap12.tif", ("kitsap", 12)),
    ],
)
def test_the_city_comes_from_the_file_name_alone(path: str, expected: tuple[str, int]) -> None:
    assert datasets.city(Path(path)) == expected


def test_a_scene_that_is_not_named_as_inrias_is_refused() -> None:
    with pytest.raises(InputError, match="is not named as an Inria scene"):
        datasets.city(Path("scene.tif"))


def masks(root: Path, **held: object) -> DataSet:
    return DataSet(
        kind="masks", images=f"{root}/chips/*.tif", labels=str(root / "chips"), suffix="_mask", validation=held or {}
    )


def test_masks_are_paired_by_name_and_held_out_by_pattern(root: Path) -> None:
    split = datasets.find("chips", masks(root, scenes=["*_1"]), root)
    assert names(split.training) == ["chip_0", "chip_2"]
    assert names(split.validation) == ["chip_1"]
    assert (read_labels(split.training[1], split.training[1].part) == (place(12).mask > 0)).all()


def test_columns_are_held_out_of_every_image(root: Path) -> None:
    split = datasets.find("chips", masks(root, columns=[64, 96]), root)
    assert [scene.part.cols for scene in split.validation] == [Span(64, 96)] * 3
    assert [scene.part.cols for scene in split.training] == [Span(0, 64), Span(96, SIDE)] * 3
    left_out = datasets.find("chips", masks(root, columns=[64, 900], unused=True), root)
    assert not left_out.validation
    assert [scene.part.cols for scene in left_out.training] == [Span(0, 64)] * 3


def test_footprints_in_another_crs_are_burnt_where_they_are(root: Path) -> None:
    data = DataSet(kind="footprints", images=f"{root}/inria/images/austin1.tif", labels=f"{root}/footprints.geojson")
    (scene,) = datasets.find("vectors", data, root).training
    window = Window(Span(10, 130), Span(30, 150))
    burnt = read_labels(scene, window)
    whole = rasterize(place(0).boxes, (SIDE, SIDE), transform=TRANSFORM, dtype="uint8")
    # GeoJSON keeps 9 decimals of a degree: a pixel centre within 0.1 mm of a wall may fall on either side.
    assert (burnt != whole[window.slices]).mean() < 0.005
    assert burnt.any()
    assert PIXEL > 0.02


def test_voc_has_classes_void_and_lists(root: Path) -> None:
    split = datasets.find("voc", DataSet(kind="voc", folder=str(root / "voc")), root)
    assert names(split.training) == ["p0", "p1"]
    assert names(split.validation) == ["p2"]
    labels = read_labels(split.training[0], split.training[0].part)
    assert set(np.unique(labels)) == {0, 1, 2, IGNORE}
    assert (labels[SIDE // 2] == IGNORE).all()


def test_rendered_scenes_are_made_once_and_again_the_same(tmp_path: Path) -> None:
    data = DataSet(kind="rendered", scenes=2, size=64, resolution=(0.3, 0.5))
    first = datasets.find("drawn", data, tmp_path)
    images = [scene.image.read_bytes() for scene in first.training]
    before = [scene.image.stat().st_mtime_ns for scene in first.training]
    again = datasets.find("drawn", data, tmp_path)
    assert [scene.image.stat().st_mtime_ns for scene in again.training] == before
    first.training[0].image.unlink()
    datasets.find("drawn", data, tmp_path)
    assert [scene.image.read_bytes() for scene in again.training] == images


def test_rendered_scenes_of_other_settings_are_not_reused(tmp_path: Path) -> None:
    sizes = (64, 96, 64)
    found = [datasets.find("drawn", DataSet(kind="rendered", scenes=1, size=size), tmp_path) for size in sizes]
    assert [split.training[0].part.shape for split in found] == [(size, size) for size in sizes]
    assert found[0] == found[2]


def test_class_masks_in_colours_are_refused(tmp_path: Path) -> None:
    write_voc(tmp_path)
    mask = tmp_path / "SegmentationClass" / "p1.png"
    Image.open(mask).convert("RGB").save(mask)
    with pytest.raises(InputError, match=r"p1\.png: has 3 band\(s\) of uint8; class indices are one band"):
        datasets.find("voc", DataSet(kind="voc", folder=str(tmp_path)), tmp_path)


def test_no_data_carries_no_label(tmp_path: Path) -> None:
    each = place(1)
    image, mask = write_tif(tmp_path / "a.tif", each.image), write_tif(tmp_path / "a_mask.tif", each.mask)
    with rasterio.open(image, "r+") as file:
        file.nodata = 0
        pixels = file.read()
        pixels[:, :20, :30] = 0
        file.write(pixels)
    (scene,) = datasets.find("a", DataSet(kind="masks", images=str(image), labels=str(mask)), tmp_path).training
    labels = read_labels(scene, scene.part)
    assert (labels[:20, :30] == IGNORE).all()
    assert not (labels[20:] == IGNORE).any()


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    write_tif(tmp_path / "images" / "grey.tif", place(0).mask)
    write_tif(tmp_path / "images" / "lost.tif", place(0).image)
    write_tif(tmp_path / "images" / "small.tif", place(0).image)
    (tmp_path / "images" / "torn.tif").write_bytes(b"II*\0")
    vrt = f'<VRTDataset rasterXSize="9" rasterYSize="9"><SourceFilename>{tmp_path}</SourceFilename></VRTDataset>'
    (tmp_path / "images" / "vrt.tif").write_text(vrt)
    write_tif(tmp_path / "gt" / "grey.tif", place(0).mask)
    write_tif(tmp_path / "gt" / "small.tif", place(0, 96).mask)
    data = DataSet(kind="masks", images=str(tmp_path / "images"), labels=str(tmp_path / "gt"))
    with pytest.raises(InputError) as caught:
        datasets.find("bad", data, tmp_path)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    sizes = "96 x 96 px, but its image small.tif 160 x 160"
    assert all(part in text for part in ("1 band(s) of uint8", "lost.tif: is missing", sizes, "cannot be read"))


def test_footprints_that_cannot_be_placed_are_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(place(0).image).save(tmp_path / f"{name}.png")
    (tmp_path / "torn.geojson").write_text("{")
    data = DataSet(kind="footprints", images=f"{tmp_path}/*.png", labels=f"{tmp_path}/torn.geojson")
    with pytest.raises(InputError) as caught:
        datasets.find("vectors", data, tmp_path)
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    assert "b.png: has no CRS" in told
    assert "torn.geojson: holds no layer" in told


def test_a_forked_process_opens_its_own_handles(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "inria" / "images" / "austin1.tif"
    own = opened(path)
    assert opened(path) is own
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert opened(path) is not own


def test_nothing_found_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.none: no image found"):
        datasets.find("none", DataSet(kind="masks", images=f"{tmp_path}/*.tif", labels=str(tmp_path)), tmp_path)


def test_a_kind_says_what_it_needs() -> None:
    with pytest.raises(ValidationError, match="is missing; kind inria needs it"):
        DataSet(kind="inria")
