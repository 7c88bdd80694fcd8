"""Weights from a file into a network: safetensors, or torch's own format without running code; wrappings taken off.

What people save is a state_dict, one within a dict ("state_dict", "model", ...), with the prefixes of
DistributedDataParallel ("module."), `torch.compile` ("_orig_mod.") or Lightning ("model."), or one flat vector `w` in
the order of `torch.nn.utils.parameters_to_vector`, as this dashboard gives it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sam_dash.problems.arrays import DataError
from sam_dash.problems.checkpoints import ENDINGS, FLAT

WRAPPINGS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
NAMED = 3  # parameters that a refusal names of each kind


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file by name, wrappings taken off; those of a .pt stay on disk until they are used.

    Raises:
        DataError: in one line, for a file that is not there, of another kind, or without a state_dict.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}: expected weights in a file that ends in {', '.join(ENDINGS)}")
    if path.suffix not in ENDINGS:
        raise DataError(f"{path.name}: expected weights in a file that ends in {', '.join(ENDINGS)}")
    try:
        found = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    except Exception as error:  # a file of strangers: whatever its reader says of it
        why = "it holds Python objects, and to read those would run their code"
        if not isinstance(error, pickle.UnpicklingError):
            why = f"{(str(error).strip() or type(error).__name__).splitlines()[0]:.120}"
        raise DataError(
            f"{path.name} cannot be read as weights alone ({why}); save them by torch.save(model.state_dict(), "
            f"{path.stem + '.pt'!r})"
        ) from None
    return {name.removeprefix(prefix): t for found, prefix in [_unwrapped(path, found)] for name, t in found.items()}


def _safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict


def _torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError):  # the format before torch 1.6 cannot stay on disk
        return torch.load(path, map_location="cpu", weights_only=True)


def _unwrapped(path: Path, found: Any) -> tuple[Mapping[str, Tensor], str]:
    """The state_dict within what was saved, and the prefix that all of its names share."""
    while isinstance(found, Mapping) and not _is_state(found):
        inner = next((found[name] for name in WRAPPINGS if isinstance(found.get(name), Mapping)), None)
        if inner is None:
            told = ", ".join(map(str, list(found)[:5])) or "nothing"
            raise DataError(f"{path.name}: no state_dict in it; it holds {told}")
        found = inner
    if not isinstance(found, Mapping):
        raise DataError(f"{path.name} holds a {type(found).__name__}; expected a state_dict")
    tensors = {str(name): t for name, t in found.items() if isinstance(t, Tensor)}
    prefix = ""
    while shared := next((p for p in PREFIXES if all(n.startswith(prefix + p) for n in tensors)), ""):
        prefix += shared
    return tensors, prefix


def _is_state(found: Mapping[Any, Any]) -> bool:
    """Whether these are names and tensors; a state_dict may have a few other things in it."""
    tensors = sum(isinstance(value, Tensor) for value in found.values())
    return tensors > 0 and not any(isinstance(found.get(name), Mapping) for name in WRAPPINGS)


def put(module: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Copy weights into a module's parameters and buffers, in place; `name` is that of their file.

    Raises:
        DataError: in one line, where they are of another network; the module is then as it was.
    """
    if FLAT in weights and len(weights) == 1:
        trained = [p for p in module.parameters() if p.requires_grad]
        _put_flat(trained, weights[FLAT], name)
        return
    own: dict[int, tuple[Tensor, list[str]]] = {}
    for key, tensor in module.state_dict(keep_vars=True).items():
        own.setdefault(id(tensor), (tensor, []))[1].append(key)
    weights = _without_prefix(weights, {key for _, keys in own.values() for key in keys})
    missing, misshapen, pairs = [], [], []
    for tensor, keys in own.values():
        given = next((weights[key] for key in keys if key in weights), None)
        if given is None:
            missing.append(keys[0])
        elif given.shape != tensor.shape:
            misshapen.append(f"{keys[0]} is {tuple(given.shape)}, expected {tuple(tensor.shape)}")
        else:
            pairs.append((tensor, given))
    unexpected = [key for key in weights if key not in {key for _, keys in own.values() for key in keys}]
    said = [_listed("missing: ", missing), _listed("unexpected: ", unexpected), _listed("", misshapen)]
    if any(said):
        raise DataError(f"{name} has the weights of another network; {'; '.join(filter(None, said))}")
    with torch.no_grad():
        for tensor, given in pairs:
            tensor.copy_(given)


def _without_prefix(weights: Mapping[str, Tensor], own: set[str]) -> Mapping[str, Tensor]:
    """The names as the network has them, where it is its own names that begin with one of `PREFIXES`."""
    prefix = next((p for p in PREFIXES if own and all(key.startswith(p) for key in own)), "")
    if prefix and weights and not any(key in own for key in weights):
        return {prefix + key: t for key, t in weights.items()}
    return weights


def _put_flat(parameters: list[nn.Parameter], w: Tensor, name: str) -> None:
    d = sum(p.numel() for p in parameters)
    if w.shape != (d,):
        raise DataError(f"{name} has the weights of another network: {tuple(w.shape)} numbers, expected ({d},)")
    with torch.no_grad():
        for p, part in zip(parameters, w.split([p.numel() for p in parameters]), strict=True):
            p.copy_(part.view_as(p))


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{what}{', '.join(names[:NAMED])}{more}" if names else ""


def only(module: nn.Module, parts: Iterable[str]) -> None:
    """Let only the parameters of the parts of these names, such as "head" or "blocks.3", require a gradient.

    Raises:
        DataError: for a part that has no parameter, naming those there are.
    """
    parts = list(parts)
    within = {part: [n for n, _ in module.named_parameters() if f"{n}.".startswith(f"{part}.")] for part in parts}
    for part, names in within.items():
        if not names:
            there = ", ".join(dict.fromkeys(n.partition(".")[0] for n, _ in module.named_parameters()))
            raise DataError(f"no parameter of the network begins with {part!r}; its parts are {there}")
    chosen = {name for names in within.values() for name in names}
    for name, p in module.named_parameters():
        p.requires_grad_(p.requires_grad and name in chosen)
