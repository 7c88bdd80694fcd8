"""Several processes train as one: the same m gives the same weights, and as few gradients are sent as can be."""

from __future__ import annotations

import pytest
import torch

from sam_dash.maths.ranks import Ranks
from tests.on_ranks import B, cases, trained
from tests.ranks import found_on

SIZES = (2, 4)


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return found_on("tests.on_ranks", tmp_path_factory.mktemp("ranks"), SIZES)


@pytest.fixture(params=SIZES)
def ranks(request, everything):
    return request.param, everything[request.param]


def test_weights_are_those_of_one_process_and_bitwise_equal_on_all_ranks(ranks) -> None:
    """Bare, in DistributedDataParallel under each of its options, and cut by fully_shard."""
    size, found = ranks
    apart = {}
    for case in cases(size):
        alone = trained(case)[0]
        assert all(torch.equal(of[case][0], found[0][case][0]) for of in found), case
        apart[case] = float((found[0][case][0] - alone).norm() / alone.norm())
    assert max(apart.values()) < 1e-9, apart


def test_one_gradient_is_sent_a_step_where_perturbations_are_local_and_two_where_they_are_common(ranks) -> None:
    size, found = ranks
    of = [(v, m, way) for v, m, way in cases(size) if v in ("usam", "sam") and (m == B or m <= B // size)]
    sent = {(m, way): found[0][v, m, way][1] for v, m, way in of}
    assert {way for _, way in sent} >= {"", "DDP", "FSDP, cut by layers"}
    assert {m for m, _ in sent} >= {1, B // size, B}
    assert sent == {(m, way): 1 if m <= B // size else 2 for m, way in sent}


def test_other_m_and_other_cuts_are_refused_with_what_is_possible(ranks) -> None:
    size, found = ranks
    said = f"of {B // size} samples on each of {size} ranks; choose one of 1, 2, 4, 8, 16, 32"
    assert said in found[0]["refused"]
    assert f"BatchNorm normalises each rank's {B // size} samples by themselves" in found[0]["norm"]
    assert "Use torch.autocast for mixed precision" in found[0]["mixed"]


def test_what_is_not_finite_on_one_rank_is_refused_on_all_so_that_none_waits(ranks) -> None:
    _, found = ranks
    assert "values of the inputs x are NaN or infinite, the first at index (0, 0)" in found[1]["NaN"]
    others = {of["NaN"] for rank, of in enumerate(found) if rank != 1}
    assert others == {"the gradient of all ranks is not finite at step 0, though the weights, x and y here are finite"}


def test_a_communication_hook_is_said_not_to_be_used(ranks) -> None:
    _, found = ranks
    assert ["communication hook of DistributedDataParallel is not used" in text for text in found[0]["hook"]] == [True]


def test_between_steps_fully_shard_works_as_if_we_were_not_there(ranks) -> None:
    _, found = ranks
    assert [of["FSDP"] for of in found] == [(0.0, True)] * len(found)


def test_one_process_refuses_with_the_divisors() -> None:
    with pytest.raises(ValueError, match="m = 5 does not divide this batch of 6 samples; choose one of 1, 2, 3, 6"):
        Ranks().sharing(5, 6)
    assert Ranks().sharing(3, 6) == 1
