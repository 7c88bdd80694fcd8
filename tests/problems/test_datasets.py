"""Data sets, the user's own files, and label noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sam_dash.problems import datasets
from sam_dash.problems.architecture import FAMILIES, layers, parse, size
from sam_dash.problems.datasets import DATASETS, DataError, load, load_npz
from sam_dash.problems.stack import corrupt, stream


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", [k for k, d in DATASETS.items() if d.offline])
def test_an_offline_data_set_is_what_its_entry_says_and_standardised(name) -> None:
    data, entry = load(name), DATASETS[name]
    assert data.x_train.shape == (entry.n_train, *entry.shape)
    assert data.x_test.shape == (entry.n_test, *entry.shape)
    assert data.classes == entry.classes
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
    path = datasets.cache_dir() / "parsed-1.npz"
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
        ({"y_train": np.linspace(0, 3, 20)}, "y_train must be integer labels"),
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


@pytest.mark.parametrize("name", ["mlp", "mlp:0", "mlp:8-x", "cnn:3-4", "resnet18:12", "vit:3", "mlp:99999", ""])
def test_an_unknown_network_is_refused(name) -> None:
    with pytest.raises(ValueError, match="network"):
        parse(name)


@pytest.mark.parametrize(
    ("name", "shape"), [("mlp:64", (64,)), ("mlp:30-20", (1, 6, 6)), ("cnn:5", (3, 9, 11)), ("resnet18:8", (3, 16, 16))]
)
def test_the_size_of_a_network_is_known_without_building_it(name, shape) -> None:
    from sam_dash.maths.flat import Layout
    from sam_dash.problems.networks import build

    assert name.partition(":")[0] in FAMILIES
    layout = Layout.of(build(name, shape, 7))
    assert size(name, shape, 7).parameters == layout.d
    assert {part.name: part.parameters for part in layers(name, shape, 7)} == layout.sizes()
