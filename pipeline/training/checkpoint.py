"""The whole state of a training in one safetensors file, written aside and renamed: a kill costs the steps since."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from pipeline.durable import replace
from pipeline.errors import OutputError


def tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once, whatever aliases it has."""
    return dict(network.named_parameters()) | dict(network.named_buffers())


def save(path: Path, networks: Mapping[str, nn.Module], optimizer: Optimizer, facts: Mapping[str, str]) -> None:
    """Write networks, the state of the first one's optimizer, and facts to ``path``, whole and durable."""
    found = {f"{part}:{name}": value for part, network in networks.items() for name, value in tensors(network).items()}
    for name, parameter in next(iter(networks.values())).named_parameters():
        for key, value in optimizer.state[parameter].items():
            found[f"optimizer.{key}:{name}"] = value
    with replace(path) as aside:
        # Channels-last tensors are written as contiguous ones, and clones share no memory.
        data = {name: value.detach().clone().cpu().contiguous() for name, value in found.items()}
        save_file(data, aside, dict(facts))


def facts(path: Path) -> dict[str, str]:
    """The facts saved in ``path``.

    Raises:
        OutputError: it is no checkpoint.
    """
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise OutputError(f"{path}: is no checkpoint ({error}); --overwrite starts anew") from error


@torch.no_grad()
def load(path: Path, networks: Mapping[str, nn.Module], optimizer: Optimizer) -> None:
    """Fill networks and optimizer with what ``save`` wrote for the same ones."""
    own = {part: tensors(network) for part, network in networks.items()}
    parameters = dict(next(iter(networks.values())).named_parameters())
    fused = {id(each) for group in optimizer.param_groups for each in group["params"] if group.get("fused")}
    with safe_open(path, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
            part, _, name = key.partition(":")
            if part in own:
                own[part][name].copy_(file.get_tensor(key))
            else:
                entry, parameter = part.removeprefix("optimizer."), parameters[name]
                value = like(parameter, file.get_tensor(key), fused=id(parameter) in fused)
                optimizer.state[parameter][entry] = value


def like(parameter: Tensor, value: Tensor, *, fused: bool) -> Tensor:
    """An entry of the optimizer's state where its parameter lies, in its layout.

    Step counters stay on the CPU, unless the optimizer is fused and counts on the device (as ``load_state_dict`` of
    ``torch.optim.Optimizer`` has it).
    """
    if value.shape == parameter.shape:
        return torch.empty_like(parameter).copy_(value)
    return value.to(parameter.device) if fused else value
