"""Patches against whole layers, for every network of the catalogue."""

import pytest
import torch
from lively import lively
from torch import Tensor

from models.catalogue import CATALOGUE, build
from models.patchwork import Patch, Patchwork


def in_patches(patchwork: Patchwork, x: Tensor) -> Tensor:
    out = torch.full((*x.shape[-2:], 2), torch.nan)

    def read(patch: Patch) -> Tensor:
        return x[:, :, *patch.slices]

    def write(patch: Patch, logits: Tensor) -> None:
        assert out[patch.slices].isnan().all()  # written once
        out[patch.slices] = logits[0].permute(1, 2, 0)

    patchwork.run((x.shape[2], x.shape[3]), read, write)
    return out.permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", CATALOGUE)
@torch.inference_mode()
def test_patches_equal_whole_layers(name: str) -> None:
    network, stride = lively(build(name, num_classes=2)), CATALOGUE[name].stride
    x = torch.randn(1, 3, stride, 2 * stride)
    whole = network(x)
    patched = in_patches(Patchwork(network, patch_bytes=150_000), x)
    assert (patched - whole).abs().max() <= 5e-6 * whole.abs().max()  # rounding; it sums up over ResNet50


@torch.inference_mode()
def test_tiles_of_changing_sizes_use_the_same_memory_and_leave_nothing_in_it() -> None:
    network = lively(build("unet-resnet18", num_classes=2))
    used = Patchwork(network, patch_bytes=150_000)
    places = set()
    for shape in ((64, 64), (96, 128), (64, 32), (96, 128)):
        x = torch.randn(1, 3, *shape)
        assert torch.equal(in_patches(used, x), in_patches(Patchwork(network, patch_bytes=150_000), x))
        assert used.arena is not None
        places.add((used.arena.data_ptr(), len(used.arena)))
    assert {size for _, size in places} == {64 * 64 * used.held_bytes, 96 * 128 * used.held_bytes}


def test_ternausnet11_holds_no_layer_at_full_resolution() -> None:
    patchwork = Patchwork(build("ternausnet11"), patch_bytes=1 << 20)
    targets = [stage.target for stage in patchwork.stages[:-1]]
    assert min(patchwork.graph.sizes[target] for target in targets) == 2
    assert patchwork.held_bytes == 4 * (128 / 4 + 256 / 16 + 128 / 16 + 64 / 4)  # fp32: conv2, conv3, dec4 and dec3
    assert patchwork.most_pixels > 8000**2
    # conv2 waits for the decoder through all of it, and with dec3 it is the widest pair
    assert patchwork.channels[targets[1]] == 128
    assert sum(patchwork.channels[node] for node in patchwork.stages[-1].done) == 128 + 64


def test_what_costs_too_much_to_compute_twice_is_held() -> None:
    patchwork = Patchwork(build("unet"), patch_bytes=1 << 20)
    assert min(patchwork.graph.sizes[stage.target] for stage in patchwork.stages[:-1]) == 1
