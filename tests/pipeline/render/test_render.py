"""The renderer's promises: what is drawn follows from the seed alone, and what is said to be a building is one."""

import numpy as np
import pytest
import rasterio.features
import shapely

from pipeline.errors import InputError
from pipeline.render import Scene, View, World, render
from pipeline.render.canvas import paint
from pipeline.render.scene import burn, expose
from pipeline.render.style import STYLES
from pipeline.render.world import contents, warp

SIDE = 320


@pytest.fixture(scope="module", params=sorted(STYLES))
def styled(request: pytest.FixtureRequest) -> tuple[World, View, Scene]:
    """One scene of every style, 160 m wide."""
    world, view = World(4, request.param), View(-200, 150, SIDE, SIDE, 0.5)
    return world, view, render(world, view)


def test_a_scene_looks_like_a_picture(styled: tuple[World, View, Scene]) -> None:
    """Shape, type, and neither flat nor burnt out."""
    _, _, scene = styled
    assert scene.image.shape == (SIDE, SIDE, 3)
    assert scene.image.dtype == scene.mask.dtype == np.uint8
    assert 40 < scene.image.mean() < 215
    assert scene.image.std() > 12
    assert ((scene.image == 0) | (scene.image == 255)).mean() < 0.25


def test_footprints_are_valid_and_apart(styled: tuple[World, View, Scene]) -> None:
    """Every footprint is one valid polygon; no two share area."""
    shapes = styled[2].footprints
    assert shapely.is_valid(shapes).all()
    assert all(isinstance(shape, shapely.Polygon) for shape in shapes)
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    apart = first < second
    shared = shapely.area(shapely.intersection(shapes[first[apart]], shapes[second[apart]]))
    assert (shared < 1e-6).all()


def test_footprints_are_no_slivers(styled: tuple[World, View, Scene]) -> None:
    """Nothing below what is mapped as a building."""
    assert (shapely.area(styled[2].footprints) > 12).all()


def test_mask_is_the_burnt_footprints(styled: tuple[World, View, Scene]) -> None:
    """A pixel is a building exactly where its centre lies on a footprint."""
    _, view, scene = styled
    rows, cols = np.mgrid[: view.rows : 7, : view.cols : 7]
    x, y = (view.col + cols.ravel() + 0.5) * 0.5, -(view.row + rows.ravel() + 0.5) * 0.5
    within = np.zeros(rows.size, bool)
    for shape in scene.footprints:
        within |= shapely.contains_xy(shape, x, y)
    assert (scene.mask[::7, ::7].ravel() == within).mean() > 0.9995  # a centre may lie on an outline


def test_share_of_buildings_is_sane() -> None:
    """Towns are built over more than the countryside, and no style is empty or full."""
    share = {}
    for name in STYLES:
        view = View(0, 0, 140, 140, 2.0)
        share[name] = float(burn(_buildings(World(1, name), view), view).mean())
    assert 0.002 < share["rural"] < 0.15
    assert all(0.04 < share[name] < 0.6 for name in STYLES if name != "rural"), share
    assert share["tin_town"] > 2 * share["rural"]


def _buildings(world: World, view: View) -> np.ndarray:
    site = contents(world, view.bounds)
    return np.array([building.footprint for building in site.buildings], object)


def test_equal_arguments_give_equal_pixels() -> None:
    """A fresh world of the same seed, after the caches have seen other worlds, is the same."""
    view = View(10, 20, 130, 170, 0.3)
    first = render(World(8), view)
    render(World(9), view)
    second = render(World(8), view)
    assert np.array_equal(first.image, second.image)
    assert shapely.equals_exact(first.footprints, second.footprints).all()
    assert not np.array_equal(first.image, render(World(9), view).image)


@pytest.mark.parametrize(("seed", "style", "cut"), [(0, "arid", 41), (7, "us_suburb", 96), (12, "tin_town", 111)])
def test_light_does_not_depend_on_the_view(seed: int, style: str, cut: int) -> None:
    """A part of a scene, exposed alone, is that part: so neighbouring scenes fit together."""
    world = World(seed, style)
    whole, part = expose(world, View(0, 0, 100, 190)), expose(world, View(0, cut, 100, 190 - cut))
    same = np.isclose(whole[:, :, cut:], part, atol=1e-5).all(axis=0)
    # a corner that is rounded from another origin may move one pixel of an outline
    assert same.mean() > 0.9995


def test_neighbours_show_the_same_buildings_across_their_border() -> None:
    """What crosses the border is whole and equal in both scenes."""
    world = World(5, "favela")
    west, east = View(0, 0, 400, 300), View(0, 300, 400, 300)
    border = shapely.intersection(west.polygon, east.polygon)
    left, right = (
        {shape.wkb for shape in render(world, side).footprints if shape.intersects(border)} for side in (west, east)
    )
    assert left == right
    assert len(left) > 1


def test_far_views_work() -> None:
    """Precision holds 300 km from the world's origin: roofs still cover their footprints."""
    view = View(10**6, -(10**6), 300, 300, 0.3)
    scene = render(World(3, "tin_town"), view)
    assert scene.mask.mean() > 0.05
    assert np.array_equal(scene.mask, burn(scene.footprints, view))


def test_roofs_stand_where_the_footprints_are() -> None:
    """The painted heights and the mask agree: what is high and no tree is a building or small."""
    world, view = World(6, "grid_city"), View(0, 0, 300, 300, 0.3)
    site = contents(world, view.bounds)
    canvas = paint(site, view)
    mask = burn(np.array([building.footprint for building in site.buildings], object), view).astype(bool)
    assert (canvas.height[mask] > 1.9).mean() > 0.998
    tall = (canvas.height > 3) & ~canvas.leafy
    assert (tall & ~mask).mean() < 0.02


def test_warp_keeps_neighbourhood() -> None:
    """The warp never folds: its Jacobian is positive everywhere."""
    world = World(2, "favela")
    at = np.random.default_rng(0).uniform(-2000, 2000, (500, 2))
    step = 1e-3
    right = (warp(world, at + np.array([step, 0])) - warp(world, at)) / step
    up = (warp(world, at + np.array([0, step])) - warp(world, at)) / step
    assert (right[:, 0] * up[:, 1] - right[:, 1] * up[:, 0] > 0.5).all()


def test_burn_is_rasterio() -> None:
    """The mask is the centre rule of rasterio, also for no footprint at all."""
    view = View(0, 0, 20, 30, 1.0)
    ring = shapely.Polygon([(2, -3), (15, -3), (15, -12), (2, -12)], [[(5, -5), (9, -5), (9, -9), (5, -9)]])
    expected = rasterio.features.rasterize([ring], (20, 30), transform=view.transform)
    assert np.array_equal(burn(np.array([ring], object), view), expected)
    assert expected.sum() == 13 * 9 - 16
    assert not burn(np.array([], object), view).any()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: World(-1), "-1 is negative; the nearest seed is 0"),
        (lambda: World(0, "village"), "'village' is not known; choose auto or one of suburb"),
        (lambda: View(0, 0, 0, 5), "0 x 5 px has no pixel"),
        (lambda: render(World(0), View(0, 0, 5, 5, 30.0)), "30.0 m is outside 0.05..2.0 m; nearest is 2.0"),
    ],
)
def test_wrong_arguments_are_refused(make: object, words: str) -> None:
    """With the value, the rule and the nearest good value."""
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        make()  # type: ignore[operator]


def test_large_scenes_are_painted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces leave no trace, neither in the picture nor in the footprints."""
    world, view = World(21, "tin_town"), View(3, 5, 150, 190, 0.4)
    whole = render(world, view)
    monkeypatch.setattr("pipeline.render.scene.PIECE", 83)
    pieces = render(world, view)
    assert (whole.image == pieces.image).mean() > 0.999
    assert np.array_equal(whole.mask, pieces.mask)
    assert {shape.wkb for shape in whole.footprints} == {shape.wkb for shape in pieces.footprints}
