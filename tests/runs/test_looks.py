"""A look: what it computes, by direct evaluation; its key; the process that computes it, and what goes wrong there."""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from sam_dash import api
from sam_dash.problems import weights
from sam_dash.problems.problem import SpecError
from sam_dash.problems.subject import of_problem
from sam_dash.results.files import bundle
from sam_dash.results.views.looked import Looked
from sam_dash.runs import look_work, looks
from sam_dash.runs.looking import Job, Jobs
from sam_dash.runs.looks import FILE, Look, read
from tests import looking


@pytest.fixture(scope="module")
def at(tmp_path_factory) -> Looked:
    return looking.looked(tmp_path_factory.mktemp("looked"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def module_of(path: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    of = of_problem(looking.PROBLEM)
    weights.put(of.module, weights.read(path.removeprefix(FILE)), "w")
    return of.module, *of.samples("train", 40)


def loss_at(module: nn.Module, x, y, w: torch.Tensor) -> float:
    nn.utils.vector_to_parameters(w, module.parameters())
    with torch.no_grad():
        return float(nn.functional.cross_entropy(module(x).double(), y))


def test_values_on_slices_planes_and_the_line_are_direct_evaluations(at) -> None:
    seen, other = at.seen
    module, x, y = module_of(seen.look.weights)
    w = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
    far = nn.utils.parameters_to_vector(module_of(other.look.weights)[0].parameters()).detach()
    H = torch.func.hessian(
        lambda v: nn.functional.cross_entropy(
            torch.func.functional_call(module, looking_named(module, v), (x,)), y
        )
    )(w)  # fmt: skip
    values, vectors = torch.linalg.eigh(H)
    assert seen.value("eigenvalue@1") == pytest.approx(float(values[-1]), rel=1e-3)
    assert seen.value("tr_H") == pytest.approx(float(H.trace()), rel=1e-4)
    for k in (1, 2):
        u = vectors[:, -k]
        u = u * u[u.abs().argmax()].sign()
        for r in seen.points(f"eigen {k}").to_dict("records")[::4]:
            assert r["loss"] == pytest.approx(loss_at(module, x, y, w + r["a"] * u), rel=2e-3)
    for r in seen.points("line").to_dict("records"):
        assert r["loss"] == pytest.approx(loss_at(module, x, y, w + r["a"] * (far - w)), rel=1e-5)
    end = next(r for r in seen.points("line").to_dict("records") if r["a"] == 1)
    assert end["loss"] == pytest.approx(other.loss("train"), rel=1e-5)
    plane = seen.points("eigen plane")
    assert len(plane) == 25
    both = vectors[:, -1], vectors[:, -2]
    signs = [u[u.abs().argmax()].sign() for u in both]
    for r in plane.to_dict("records")[::7]:
        v = w + r["a"] * signs[0] * both[0] + r["b"] * signs[1] * both[1]
        assert r["loss"] == pytest.approx(loss_at(module, x, y, v), rel=2e-3)
    reach = seen.look.reach * seen.look.rho
    assert [plane["a"].min(), plane["b"].max()] == pytest.approx([-reach, reach])


def looking_named(module: nn.Module, v: torch.Tensor) -> dict[str, torch.Tensor]:
    sizes = [p.numel() for p in module.parameters()]
    parts = v.split(sizes)
    return {n: part.view_as(p) for (n, p), part in zip(module.named_parameters(), parts, strict=True)}


def test_numbers_are_those_of_the_library_and_every_error_is_there(at) -> None:
    seen = at.seen[0]
    module, x, y = module_of(seen.look.weights)
    found = api.measure(module, x, y, ("tr_H", "layer_trace", "m_sharp"), m=(1, 8), rho=0.1)
    for key, e in found.items():
        row = seen.measured[seen.measured["quantity"] == key].iloc[0]
        assert (row["value"], row["stderr"]) == pytest.approx((e.value, e.stderr)), key
    about = seen.answer["about"]
    assert [(s["split"], s["n"]) for s in about["scores"]] == [("train", 40), ("test", 797)]
    with torch.no_grad():
        assert about["scores"][0]["score"] == pytest.approx(float((module(x).argmax(1) == y).double().mean()))
    assert len(seen.answer["noise"]) == len(looks.SIGMAS)
    assert [r["bits"] for r in seen.answer["rounding"]] == [8, 4]
    assert seen.answer["noise"][0]["stderr"] > 0


def test_the_directions_have_the_inner_products_that_the_ball_is_drawn_by(at) -> None:
    gram = at.seen[0].answer["gram"]
    torch.testing.assert_close(torch.tensor(gram["eigen plane"]), torch.eye(2), atol=1e-5, rtol=0)
    module = module_of(at.seen[0].look.weights)[0]
    filters = sum(float(p.detach().square().sum()) for p in module.parameters() if p.ndim > 1)
    assert gram["random plane"][0][0] == pytest.approx(filters, rel=1e-5)
    assert gram["line"][0][0] == pytest.approx(at.seen[0].answer["about"]["distance"] ** 2, rel=1e-5)


def test_a_key_is_of_the_content_and_an_answer_is_kept(at, tmp_path) -> None:
    first = at.seen[0].look
    copied = tmp_path / "elsewhere.safetensors"
    copied.write_bytes(Path(first.weights.removeprefix(FILE)).read_bytes())
    same = Look(**{**vars(replace(first)), "weights": f"{FILE}{copied}", "digest": ""})
    assert same.key == first.key
    others = [replace(first, rho=0.2), replace(first, samples=41), replace(first, toward="", toward_digest=""),
              replace(first, digest="0" * 16)]  # fmt: skip
    assert len({first.key, *(o.key for o in others)}) == 5
    assert read(json.loads(json.dumps(first.to_dict()))) == first
    assert first.answer() is None
    look_work.keep(first, at.seen[0].answer)
    assert first.answer() == json.loads(json.dumps(at.seen[0].answer))
    first.place.write_text("torn")
    assert first.answer() is None


def test_what_cannot_be_asked_is_refused(tmp_path) -> None:
    with pytest.raises(SpecError, match="no file"):
        looking.look(tmp_path / "gone.pt")
    with pytest.raises(SpecError, match="no weights"):
        Look()
    with pytest.raises(SpecError, match="unknown part"):
        Look(weights="run:a", parts=("spectra",))
    with pytest.raises(SpecError, match="across"):
        Look(weights="run:a", across=1000)


def test_the_process_tells_how_far_it_is_and_the_weights_of_another_network_are_one_line(at, tmp_path) -> None:
    answers = io.StringIO()
    asked = replace(at.seen[0].look, parts=("slices",), toward="", toward_digest="")
    assert look_work.serve(io.StringIO(json.dumps(asked.to_dict())), answers) == 0
    told = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert told[-1] == {"ended": asked.key}
    done = [row["done"] for row in told[:-1]]
    assert done == sorted(done)
    assert all(row["done"] <= row["of"] == asked.passes for row in told[:-1])
    found = asked.answer()
    assert found is not None
    assert {r["slice"] for r in found["points"]} == {"eigen 1", "eigen 2", "random 1", "random 2"}
    torch.save({"0.weight": torch.ones(2, 2)}, tmp_path / "other.pt")
    answers = io.StringIO()
    asked = looking.look(tmp_path / "other.pt")
    assert look_work.serve(io.StringIO(json.dumps(asked.to_dict())), answers) == 2
    (line,) = answers.getvalue().splitlines()
    assert json.loads(line)["error"].startswith("other.pt has the weights of another network; missing: hidden1.weight")


def test_the_zip_of_checkpoints_has_every_figure_its_numbers_and_what_was_asked(at) -> None:
    drawn = []
    content = bundle.of_checkpoints(at, lambda fig, kind: (drawn.append(fig), kind.encode())[1])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
        folder = archive.namelist()[0].partition("/")[0]
    assert folder == f"checkpoints-{at.seen[0].look.key[:6]}-{at.seen[1].look.key[:6]}"
    figures = {"planes-eigen", "planes-random", "slices", "rounding", "look-density", "look-layers", "look-m"}
    assert {name.removeprefix("figures/").rpartition(".")[0] for name in files if "/" in name} == figures
    assert [files[f"figures/{name}.pdf"] for name in figures] == [b"PDF"] * len(figures)
    assert len(drawn) == 2 * len(figures)
    plane = pd.read_csv(io.BytesIO(files["figures/planes-random.csv"]))
    points = at.seen[1].points("random plane")
    assert plane[plane["line"] == at.seen[1].name]["rise"].tolist() == pytest.approx(points["rise"].tolist())
    asked = json.loads(files["looks.json"])
    assert [read(asked[seen.name]) for seen in at.seen] == [seen.look for seen in at.seen]
    told = files["README.md"].decode()
    assert all(f"**{name}**" in told for name in figures)
    assert "tr(H)" in set(pd.read_csv(io.BytesIO(files["numbers.csv"]))["Number"])
    bare = bundle.of_checkpoints(at, None, "No Chrome.")
    with zipfile.ZipFile(io.BytesIO(bare)) as archive:
        assert not [n for n in archive.namelist() if n.endswith((".svg", ".pdf"))]
        assert "No Chrome." in archive.read(f"{folder}/README.md").decode()


def ended(job: Job, seconds: float = 60) -> Job:
    job.thread.join(seconds)
    assert job.ended
    return job


def test_jobs_run_outside_of_this_process_one_at_a_time_and_can_be_cancelled(at, tmp_path) -> None:
    jobs, url = Jobs(), f"sqlite:///{tmp_path / 'store.db'}"
    asked = replace(at.seen[0].look, parts=("rounding",), toward="", toward_digest="")
    job = jobs.start(asked, url)
    assert jobs.start(asked, url) is job
    waiting = jobs.start(replace(asked, samples=30), url)
    assert waiting.what == "waiting"
    waiting.cancel()
    ended(job)
    assert job.error == ""
    found = asked.answer()
    assert found is not None
    assert len(found["rounding"]) == 2
    ended(waiting)
    assert waiting.process is None
    killed = jobs.start(replace(asked, samples=40), url)
    while killed.process is None:
        time.sleep(0.01)
    killed.process.kill()
    ended(killed)
    assert "was ended" in killed.error
    long = jobs.start(replace(asked, samples=1000, parts=tuple(looks.PARTS), across=201), url)
    while long.what in ("waiting", "starting") and not long.ended:
        time.sleep(0.05)
    jobs.close()
    ended(long, 10)
    assert long.error == "", "the user has ended it, who need not be told why"
    assert long.look.answer() is None
    assert threading.active_count() < 20
