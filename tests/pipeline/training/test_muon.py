"""Muon against the singular value decomposition, PyTorch's Adam, and itself after a resumption."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.training.muon import Muon, groups_of, orthogonalised
from pipeline.training.processes import Processes
from pipeline.training.settings import Training
from pipeline.training.trainer import Trainer
from pipeline.yamlmodel import load_model


@pytest.mark.parametrize("shape", [(4, 4), (8, 72), (64, 576)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.manual_seed(3)) * 7
    update = orthogonalised(matrix)
    values = torch.linalg.svdvals(update)
    assert values.min() > 0.6
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    along = left.T @ update @ right.T  # the matrix's own singular vectors make the update diagonal
    torch.testing.assert_close(along, along.diagonal().diag(), atol=1e-3, rtol=0)


def test_zero_gradients_of_a_kernel_move_nothing() -> None:
    assert torch.equal(orthogonalised(torch.zeros(4, 9)), torch.zeros(4, 9))


def test_vectors_move_as_by_adamw() -> None:
    start = torch.randn(50, generator=torch.manual_seed(1))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    muon = Muon([{"params": [ours], "orthogonal": "no", "weight_decay": 0.1}], lr=1e-2)
    adamw = torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.1)
    for _ in range(20):
        gradient = torch.randn(50)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs)


def test_a_transposed_kernel_moves_as_the_same_matrix_would() -> None:
    """(inputs, outputs, h, w) and (outputs, inputs, h, w) of one matrix take one step."""
    kernel, gradient = torch.randn(2, 6, 4, 3, 3, generator=torch.manual_seed(1))
    plain, turned = nn.Parameter(kernel.clone()), nn.Parameter(kernel.transpose(0, 1).clone())
    groups = [
        {"params": [plain], "orthogonal": "conv", "weight_decay": 0.0},
        {"params": [turned], "orthogonal": "transposed", "weight_decay": 0.0},
    ]
    plain.grad, turned.grad = gradient.clone(), gradient.transpose(0, 1).clone()
    Muon(groups, lr=0.1).step()
    assert not torch.equal(plain, kernel)
    assert torch.equal(turned.detach().transpose(0, 1), plain.detach())


def test_every_trained_parameter_is_moved_once_and_only_kernels_decay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 1, 1))
    groups = groups_of(network, 0.1)
    found = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(parameter) for parameter in network.parameters())
    kinds = {id(p): (group["orthogonal"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert [kinds[id(network[index].weight)] for index in range(4)] == [
        ("no", 0.1),
        ("no", 0.0),
        ("transposed", 0.1),
        ("no", 0.1),
    ]


def test_a_resumed_training_takes_the_same_steps(settings_file: Path, tmp_path: Path) -> None:
    options = ["recipe.optimizer=muon", "network.options.filters=2"]
    settings = load_model(settings_file, options, Training)
    batches = [(torch.rand(2, 3, 32, 32), (torch.rand(2, 32, 32) > 0.5).to(torch.uint8)) for _ in range(4)]

    def after(batches: list[tuple[Tensor, Tensor]], *, resumed: bool) -> Trainer:
        trainer = Trainer(settings, Processes())
        trainer.resume(tmp_path / ("kept" if resumed else "none"))
        for images, labels in batches:
            trainer.step(images, labels)
        return trainer

    whole = after(batches, resumed=False)
    after(batches[:2], resumed=False).save(tmp_path / "kept")
    parts = after(batches[2:], resumed=True)
    assert whole.state.losses == parts.state.losses
    for one, other in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        assert torch.equal(one, other)
