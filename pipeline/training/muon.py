"""Muon: momentum, orthogonalised, for the kernels of convolutions; Adam for everything else.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks". A step moves every direction of a
kernel's matrix alike, not only the few that dominate its gradient: with short budgets worth a multiple of Adam's steps.
PyTorch's own Muon takes matrices only, no kernels of four axes.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)
# ^ of Jordan's Newton-Schulz iteration, x ↦ ax + bx³ + cx⁵: it brings singular values from (0, 1] to about 0.7…1.2
ITERATIONS = 5
RIDGE = 1e-6
# ^ keeps rounding from making eigenvalues of the Gram matrix negative, which the iteration would blow up
LIKE_ADAM = 0.2
# ^ RMS of a step per learning rate, that of Adam's: one rate serves both (Liu et al. 2025, arXiv:2502.16982, eq. 4)


def orthogonalised(matrix: Tensor) -> Tensor:
    """(m, n) float32 U S Vᵀ, m ≤ n -> about U Vᵀ. Iterates on the m × m Gram matrix, at half the cost."""
    a, b, c = QUINTIC
    matrix = matrix / (matrix.norm() + 1e-12)
    gram = matrix @ matrix.T
    gram.diagonal().add_(RIDGE)
    product = torch.eye(len(gram), device=gram.device)
    for _ in range(ITERATIONS):
        factor = c * (gram @ gram) + b * gram
        factor.diagonal().add_(a)
        gram, product = factor @ gram @ factor, factor @ product
    return product @ matrix


class Muon(Optimizer):
    """Two kinds of parameter groups: with ``orthogonal`` kernels of convolutions, without it anything, by Adam."""

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float = 0.95) -> None:
        """Groups name ``params``, ``weight_decay``, and ``orthogonal``: "no", "conv" or "transposed"."""
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": (0.9, 0.999), "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step on the gradients."""
        for group in self.param_groups:
            move = _adam if group["orthogonal"] == "no" else _muon
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    move(parameter, parameter.grad, self.state[parameter], group)


def _muon(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    """Nesterov's momentum, orthogonalised as a matrix of as many rows as the kernel has outputs."""
    if not state:
        state["momentum"] = torch.zeros_like(parameter)
    momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
    wanted = gradient.lerp(momentum, group["momentum"])
    kernel = wanted.transpose(0, 1) if group["orthogonal"] == "transposed" else wanted
    matrix = kernel.flatten(1)
    wide = matrix.shape[0] <= matrix.shape[1]
    update = (orthogonalised(matrix) if wide else orthogonalised(matrix.T).T).reshape(kernel.shape)
    update = update.transpose(0, 1) if group["orthogonal"] == "transposed" else update
    parameter.sub_(update, alpha=group["lr"] * LIKE_ADAM * max(matrix.shape) ** 0.5)


def _adam(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    """Kingma & Ba 2015, arXiv:1412.6980, algorithm 1."""
    if not state:
        state.update(mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter), step=torch.zeros(()))
    state["step"] += 1
    step, (first, second) = float(state["step"]), group["betas"]
    mean, square = state["mean"].lerp_(gradient, 1 - first), state["square"].lerp_(gradient.square(), 1 - second)
    size = (square / (1 - second**step)).sqrt_().add_(group["eps"])
    parameter.addcdiv_(mean, size, value=-group["lr"] / (1 - first**step))


def groups_of(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """The parameters of ``network`` by how they are moved.

    Vectors are Adam's, and the first and the last convolution: colours and logits are no features to be treated alike.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    kinds = {id(module.weight): _kind(module) for module in convolutions}
    kinds[id(convolutions[0].weight)] = kinds[id(convolutions[-1].weight)] = "no"
    groups: dict[tuple[str, bool], list[Tensor]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            groups.setdefault((kinds.get(id(parameter), "no"), parameter.ndim > 1), []).append(parameter)
    return [
        {"params": found, "orthogonal": kind, "weight_decay": decay if kernel else 0.0}
        for (kind, kernel), found in groups.items()
    ]


def _kind(module: nn.Module) -> str:
    return "transposed" if isinstance(module, nn.ConvTranspose2d) else "conv"
