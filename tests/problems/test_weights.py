"""Weights from files: what people save is read, what is of another network is refused in one line."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sam_dash.problems import checkpoints, weights
from sam_dash.problems.arrays import DataError, sha256


def network(hidden: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.Linear(hidden, 2))


def state(seed: int = 0) -> dict:
    torch.manual_seed(seed)
    return network().state_dict()


def same(module: nn.Module, wanted: dict) -> bool:
    return all(torch.equal(a, wanted[name]) for name, a in module.state_dict().items())


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {"model_state_dict": {f"module.{k}": t for k, t in s.items()}},
        lambda s: {f"_orig_mod.{k}": t for k, t in s.items()},
        lambda s: {f"module._orig_mod.{k}": t for k, t in s.items()},
        lambda s: {"state_dict": {f"model.{k}": t for k, t in s.items()}, "hyper_parameters": {"a": 1}},
        lambda s: {k: t.half() if t.is_floating_point() else t for k, t in s.items()},
    ],
    ids=["plain", "with epoch", "twice", "ddp", "compiled", "compiled ddp", "lightning", "half"],
)
def test_a_state_dict_is_found_in_what_people_save(wrapped, tmp_path) -> None:
    wanted, module = state(), network()
    given = wrapped(wanted)
    torch.save(given, tmp_path / "w.pt")
    weights.put(module, weights.read(tmp_path / "w.pt"), "w.pt")
    half = "0.weight" in given and given["0.weight"].dtype == torch.float16
    assert same(module, {k: t.half().float() for k, t in wanted.items()}) if half else same(module, wanted)
    assert module[0].weight.dtype == torch.float32


def test_safetensors_and_a_flat_vector_are_read(tmp_path) -> None:
    wanted, module = state(1), network()
    save_file(wanted, tmp_path / "w.safetensors")
    weights.put(module, weights.read(tmp_path / "w.safetensors"), "w")
    assert same(module, wanted)
    w = torch.arange(3 * 4 + 4 + 8 + 8 + 2).float()
    save_file({"w": w}, tmp_path / "flat.safetensors")
    weights.put(module, weights.read(tmp_path / "flat.safetensors"), "flat")
    assert torch.equal(nn.utils.parameters_to_vector(module.parameters()), w)
    with pytest.raises(DataError, match=r"short has the weights of another network: \(9,\) numbers, expected \(34,\)"):
        weights.put(module, {"w": torch.zeros(9)}, "short")


def test_the_prefix_is_kept_where_it_is_the_networks_own(tmp_path) -> None:
    class Wrapping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()

    module, wanted = Wrapping(), state(2)
    for given in ({f"model.{k}": t for k, t in wanted.items()}, wanted):
        torch.save(given, tmp_path / "w.pt")
        other = copy.deepcopy(module)
        weights.put(other, weights.read(tmp_path / "w.pt"), "w.pt")
        assert same(other.model, wanted)


def test_a_tied_parameter_is_wanted_once() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    given = {k: torch.ones_like(t) for k, t in module.state_dict().items() if k != "1.weight"}
    weights.put(module, given, "tied")
    assert bool((module[1].weight == 1).all())


def test_another_network_is_refused_in_one_line_and_changes_nothing() -> None:
    module, before = network(), None
    before = copy.deepcopy(module.state_dict())
    given = network(5).state_dict() | {"head.weight": torch.ones(2)}
    del given["2.bias"]
    with pytest.raises(DataError) as error:
        weights.put(module, given, "w.pt")
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("w.pt has the weights of another network; missing: 2.bias; unexpected: head.weight; ")
    assert "0.weight is (5, 3), expected (4, 3)" in text
    assert text.endswith("and 4 more")
    assert same(module, before)


def test_what_is_no_weights_is_refused_in_one_line_and_no_code_is_run(tmp_path) -> None:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": state(), "trap": Trap()}, tmp_path / "trap.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"a": 1}, tmp_path / "none.pt")
    (tmp_path / "torn.safetensors").write_bytes(b"abc")
    (tmp_path / "text.txt").write_text("abc")
    for name, why in (
        ("trap.pt", "it holds Python objects, and to read those would run their code"),
        ("list.pt", "holds a list; expected a state_dict"),
        ("none.pt", "no state_dict in it; it holds a"),
        ("torn.safetensors", "cannot be read as weights alone"),
        ("text.txt", r"expected weights in a file that ends in \.safetensors, \.pt"),
        ("gone.pt", "no file"),
    ):
        with pytest.raises(DataError, match=why) as error:
            weights.read(tmp_path / name)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_only_the_parts_named_are_measured() -> None:
    module = nn.ModuleDict({"head": nn.Linear(2, 2), "header": nn.Linear(2, 2), "body": nn.Linear(2, 2)})
    module["head"].bias.requires_grad_(False)
    weights.only(module, ["head", "body.bias"])
    assert [n for n, p in module.named_parameters() if p.requires_grad] == ["head.weight", "body.bias"]
    with pytest.raises(DataError, match="begins with 'tail'; its parts are head, header, body"):
        weights.only(module, ["tail"])


def test_registered_are_the_files_and_the_folders_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.pt", "deep/b.safetensors", "deep/c.txt"):
        (tmp_path / name).write_bytes(b"1")
    monkeypatch.setenv("SAM_DASH_CHECKPOINTS", f"{tmp_path / 'a.pt'}:{tmp_path / 'deep'}:{tmp_path / 'gone'}")
    assert {f.name for f in checkpoints.registered()} == {"a.pt", "b.safetensors"}
    first = sha256(tmp_path / "a.pt")
    (tmp_path / "a.pt").write_bytes(b"22")
    assert sha256(tmp_path / "a.pt") != first
    monkeypatch.delenv("SAM_DASH_CHECKPOINTS")
    assert checkpoints.registered() == []
