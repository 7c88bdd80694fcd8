"""Data sets, the user's own files, and label noise."""

from __future__ import annotations

import gzip
import re
import sys
from dataclasses import replace
from pydoc_data import topics

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from sam_dash.problems import datasets, text
from sam_dash.problems.architecture import FAMILIES, layers, parse, size
from sam_dash.problems.datasets import DATASETS, DataError, load, load_npz
from sam_dash.problems.problem import Problem, SpecError
from sam_dash.problems.stack import corrupt, stream
from sam_dash.runs.report import Report
from sam_dash.runs.spec import Measures, RunSpec, Training
from sam_dash.runs.train import train
from sam_dash.surroundings import cache_dir


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", [k for k, d in DATASETS.items() if not d.source])
def test_an_offline_data_set_is_what_its_entry_says_and_standardised(name) -> None:
    data, entry = load(name), DATASETS[name]
    assert data.x_train.shape == (entry.n_train, *entry.shape)
    assert data.x_test.shape == (entry.n_test, *entry.shape)
    assert (data.classes, data.vocabulary) == (entry.classes, entry.vocabulary)
    if entry.vocabulary:
        assert data.x_train.dtype == np.int64
        return
    assert data.x_train.dtype == np.float32
    assert abs(data.x_train.mean()) < 0.05
    assert abs(data.x_train.std() - 1) < 0.05


@pytest.fixture
def parses(monkeypatch) -> list[int]:
    """A data set named "parsed" that is made of nothing; one entry for each time that it was parsed."""
    found, rng = [], np.random.default_rng(0)

    def parse():
        found.append(len(found))
        return datasets.Data(*(part for n in (40, 10) for part in (rng.random((n, 5)), rng.integers(0, 3, n))))

    monkeypatch.setitem(DATASETS, "parsed", replace(DATASETS["mnist1d"], load=parse))
    return found


def test_a_parsed_data_set_is_cached_and_a_torn_cache_is_made_anew(parses) -> None:
    first, cached = load("parsed"), load("parsed")
    assert len(parses) == 1
    np.testing.assert_array_equal(cached.x_train, first.x_train.astype(np.float32))
    path = cache_dir() / "parsed-1.npz"
    path.write_bytes(path.read_bytes()[:1000])
    again = load("parsed")
    assert len(parses) == 2
    np.testing.assert_array_equal(load_npz(path).x_train, again.x_train.astype(np.float32))


def test_an_unwritable_cache_costs_only_the_next_parse(parses, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load("parsed").x_train.shape == load("parsed").x_train.shape == (40, 5)
    assert len(parses) == 2


def test_without_a_network_an_openml_data_set_says_what_to_do(monkeypatch) -> None:
    def refuse(*_args, **_kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", refuse)
    with pytest.raises(DataError, match=r"openml.org cannot be reached \(no route to host\).*digits, mnist-5k"):
        load("cifar10")


def test_an_openml_data_set_is_split_scaled_and_shaped(monkeypatch) -> None:
    x, y = np.random.default_rng(0).integers(0, 256, (70000, 4)), np.arange(70000) % 10

    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_a, **_k: (x, y.astype(str)))
    data = datasets._openml("mnist_784", 60000, (1, 2, 2))()
    assert data.x_train.shape == (60000, 1, 2, 2)
    assert data.x_test.shape == (10000, 1, 2, 2)
    assert abs(data.x_train.mean()) < 1e-3
    assert data.y_train.dtype == np.int64


def test_a_regression_is_standardised_by_its_training_samples_and_learnt_better_than_its_mean() -> None:
    data = load("diabetes")
    assert (data.classes, data.outputs, data.y_train.dtype, data.y_train.shape) == (0, 1, np.float32, (342,))
    raw = load_diabetes(return_X_y=True, scaled=False)[1][np.random.RandomState(0).permutation(442)]
    np.testing.assert_allclose(data.y_test, (raw[342:] - raw[:342].mean()) / raw[:342].std(), rtol=1e-5)
    np.testing.assert_allclose(data.x_train.mean(0), 0, atol=1e-6)
    problem = Problem(dataset="diabetes", network="mlp:16")
    how = Training(lr=0.02, batch=38, epochs=15)
    found = {}
    for variant, m in (("sgd", None), ("sam", 1)):
        spec = RunSpec(variant=variant, m=m, problem=problem, training=how, measures=Measures(what=("trace",)))
        reports: list[Report] = []
        train([spec], lambda report, kept=reports: kept.append(report) or set())
        found[variant] = {q.quantity: q.value for report in reports for (run,) in [report.measurements] for q in run}
        assert found[variant]["test_loss"] < 0.75 * float((data.y_test**2).mean())
    assert found["sam"]["tr_H"] < found["sgd"]["tr_H"]
    with pytest.raises(SpecError, match=r"label_noise = 0\.4 is about classes"):
        replace(problem, label_noise=0.4)


def images(folder, n: dict[str, int]):
    """Fashion-MNIST's four files with so many images, as Debian installs them, and their arrays."""
    rng, found = np.random.default_rng(0), []
    for part, many in n.items():
        x, y = rng.integers(0, 256, (many, 28, 28), np.uint8), rng.integers(0, 10, many).astype(np.uint8)
        for name, a in ((f"{part}-images-idx3-ubyte.gz", x), (f"{part}-labels-idx1-ubyte.gz", y)):
            header = b"\0\0\x08" + bytes([a.ndim]) + np.array(a.shape, ">u4").tobytes()
            (folder / name).write_bytes(gzip.compress(header + a.tobytes()))
        found.append((x, y))
    return found


def test_fashion_mnist_of_debian_is_that_of_openml(tmp_path, monkeypatch) -> None:
    (x, y), (x_test, y_test) = images(tmp_path, {"train": 60000, "t10k": 20})
    flat, labels = np.concatenate([x, x_test]).reshape(-1, 784), np.concatenate([y, y_test]).astype(str)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda *_a, **_k: (flat, labels))
    monkeypatch.setattr(datasets, "FASHION", tmp_path / "not there")
    openml = DATASETS["fashion-mnist"].load()
    monkeypatch.setattr(datasets, "FASHION", tmp_path)
    for ours, theirs in zip(DATASETS["fashion-mnist"].load(), openml, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("content", [b"", b"not gzip", gzip.compress(b"no idx", mtime=0)])
def test_a_torn_fashion_mnist_is_one_line(tmp_path, monkeypatch, content) -> None:
    images(tmp_path, {"train": 20, "t10k": 20})
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    monkeypatch.setattr(datasets, "FASHION", tmp_path)
    with pytest.raises(DataError, match=r"is not as dataset-fashion-mnist installs it \(.*install it anew"):
        load("fashion-mnist")


def test_text_is_the_same_every_time_and_no_test_sample_is_in_the_training_text() -> None:
    data = text.load()
    alphabet = np.array(list(text.LETTERS))

    def strings(x, y):
        return ["".join(alphabet[[*row, label]]) for row, label in zip(x, y, strict=True)]

    train, test = strings(data.x_train, data.y_train), strings(data.x_test, data.y_test)
    words = " ".join(topics.topics.values()).lower()
    assert not set(train) & set(test)
    assert sum(sample in re.sub("[^a-z]+", " ", words) for sample in [*train[:100], *test[:100]]) == 200
    assert not any("  " in sample for sample in [*train, *test])
    for again, before in zip(text.load(), data, strict=True):
        np.testing.assert_array_equal(again, before)


def test_a_test_sample_that_occurs_in_the_training_text_is_left_out(monkeypatch) -> None:
    """Two topics of the same sentences in other paragraphs: each piece of a test paragraph is in a training one."""
    line = " ".join("abcdefghijklmnopqrstuvwxyz"[i % 26] * (1 + i % 5) for i in range(400))
    fresh = "\n\n".join(f"only here {chr(97 + i)} {'zq' * i} and so it goes on" for i in range(20))
    monkeypatch.setattr(text, "TRAIN", 1)
    monkeypatch.setattr(text, "TEST", 10**6)
    monkeypatch.setattr(text, "_topics", lambda: [line, f"{line} x", f"{line} y", f"{line} z", fresh])
    with pytest.raises(DataError, match=r"give \d+ \+ (\d+) samples") as error:
        text.load()
    assert int(re.search(r"\+ (\d+) samples", str(error.value))[1]) < 30, "of 48 in a line"


def test_other_help_topics_are_another_data_set_and_none_are_one_line(monkeypatch) -> None:
    problem = Problem(dataset="pydoc", network="transformer:4")
    assert problem.data_hash == text.digest() != ""
    load("pydoc", problem.data_hash)
    text.digest.cache_clear()
    monkeypatch.setattr(text, "_topics", lambda: ["of another Python"])
    try:
        assert Problem(dataset="pydoc", network="transformer:4").data_hash != problem.data_hash
        with pytest.raises(DataError, match="pydoc is another here than for this run"):
            load("pydoc", problem.data_hash)
        text.digest.cache_clear()
        monkeypatch.undo()
        monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
        assert Problem(dataset="pydoc", network="transformer:4").data_hash == ""
        with pytest.raises(DataError, match="this Python has no help topics"):
            load("pydoc")
    finally:
        text.digest.cache_clear()


def arrays(**changed):
    rng = np.random.default_rng(0)
    good = {"x_train": rng.normal(size=(20, 3)), "y_train": np.arange(20) % 4, "x_test": rng.normal(size=(8, 3)),
            "y_test": np.arange(8) % 4}  # fmt: skip
    return {k: v for k, v in (good | changed).items() if v is not None}


def test_the_users_own_file_is_read(tmp_path) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    data = load(f"npz:{path}")
    assert data.classes == 4
    assert data.x_train.shape == (20, 3)
    assert datasets.describe(f"npz:{path}").n_train == 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y_test": None}, "missing array 'y_test'"),
        ({"y_train": np.arange(19) % 4}, r"expected x_train \(N, ...\) and y_train \(N,\) of one length"),
        ({"x_train": np.zeros(20)}, r"expected x_train \(N, ...\)"),
        ({"x_test": np.zeros((8, 2))}, "differ in shape"),
        ({"y_train": np.linspace(0, 3, 20)}, "expected the same of both"),
        ({"y_train": np.full(20, -1)}, "y_train must be integer labels"),
        ({"x_train": np.full((20, 3), np.nan)}, "x_train must be finite real numbers"),
        ({"x_train": np.full((20, 3), "a")}, "x_train must be finite real numbers"),
        ({"x_train": np.array([[object()] * 3] * 20)}, "pickled objects"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason(tmp_path, changed, message) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays(**changed))
    with pytest.raises(DataError, match=message):
        load_npz(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 torn"])
def test_what_is_no_npz_is_refused(tmp_path, content) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npz"):
        load_npz(path)


def test_a_missing_or_changed_file_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="no file"):
        load_npz(tmp_path / "gone.npz")
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    with pytest.raises(DataError, match="has changed since"):
        load_npz(path, "0" * 16)


@pytest.mark.parametrize("rate", [0.0, 0.4, 1.0])
def test_exactly_the_rate_of_labels_becomes_wrong(rate) -> None:
    y = np.arange(1000) % 10
    noisy = corrupt(y, rate, 10, stream(0, "labels"))
    assert (noisy != y).sum() == round(rate * 1000)
    assert set(noisy) <= set(range(10))


def test_wrong_labels_are_uniform_over_the_others() -> None:
    noisy = corrupt(np.zeros(90_000, int), 1.0, 10, stream(0, "labels"))
    counts = np.bincount(noisy, minlength=10)
    assert counts[0] == 0
    assert abs(counts[1:] - 10_000).max() < 5 * 10_000**0.5


def test_the_streams_of_a_seed_are_independent_and_repeat() -> None:
    assert stream(3, "labels").integers(2**60) == stream(3, "labels").integers(2**60)
    assert len({int(stream(s, p).integers(2**60)) for s in range(5) for p in ("init", "labels", "order")}) == 15


@pytest.mark.parametrize(
    "name",
    ["mlp", "mlp:0", "mlp:8-x", "resnet18:8-8", "resnet18:12", "vit:3", "vit:6", "transformer:8-8", "mlp:99999", ""],
)
def test_an_unknown_network_is_refused(name) -> None:
    with pytest.raises(ValueError, match="network"):
        parse(name)


@pytest.mark.parametrize(
    ("name", "shape", "vocabulary"),
    [
        ("mlp:64", (64,), 0), ("mlp:30-20", (1, 6, 6), 0), ("cnn:5", (3, 9, 11), 0), ("resnet18:8", (3, 16, 16), 0),
        ("cnn:5-6", (3, 12, 17), 0), ("vit:8", (3, 9, 70), 0), ("vit:8", (9, 12, 3), 0), ("transformer:8", (6,), 0),
        ("transformer:8", (6, 2), 0), ("transformer:8", (6,), 11),
    ],
)  # fmt: skip
def test_the_size_of_a_network_is_known_without_building_it(name, shape, vocabulary) -> None:
    from sam_dash.maths.flat import Layout
    from sam_dash.problems.networks import build

    assert name.partition(":")[0] in FAMILIES
    layout = Layout.of(build(name, shape, 7, vocabulary))
    assert size(name, shape, 7, vocabulary).parameters == layout.d
    assert {part.name: part.parameters for part in layers(name, shape, 7, vocabulary)} == layout.sizes()
