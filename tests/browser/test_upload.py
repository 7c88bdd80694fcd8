"""One's own data on the page Run and a bundle on the page Take away: a good file, and one that cannot be read."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from sam_dash.results.files import bundle
from sam_dash.results.numbers import study as studies
from sam_dash.runs.store import Store
from tests.browser.driver import settle
from tests.synthetic import SWEEP, fill

LATE = 30_000


def npz(**changes: Any) -> bytes:
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.standard_normal((80, 6)), "y_train": np.arange(80) % 3,
        "x_test": rng.standard_normal((20, 6)), "y_test": np.arange(20) % 3,
    }  # fmt: skip
    out = io.BytesIO()
    np.savez(out, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return out.getvalue()


def upload(page: Any, nth: int, name: str, content: bytes) -> None:
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    page.get_by_test_id("stFileUploaderDropzoneInput").nth(nth).set_input_files([file])


@pytest.mark.timeout(120)
def test_ones_own_data_is_chosen_and_a_bad_file_changes_nothing(address: str, page: Any) -> None:
    page.goto(f"{address}/run?form_tab=Problem&network=mlp:8&batch=16&m=16&seeds=1")
    settle(page)
    page.get_by_text("Use your own data (.npz, .csv)").click()
    upload(page, 0, "mine.npz", npz())
    expect(page.get_by_text("80 training and 20 test samples, 3 classes")).to_be_visible(timeout=LATE)
    page.wait_for_url(re.compile("dataset=npz"))
    start = page.get_by_role("button", name=re.compile("^Start"))
    expect(start).to_be_enabled(timeout=LATE)
    for content, says in (
        (b"PK\x03\x04 not an archive", "broken.npz"),
        (npz(y_test=None), "y_test"),
        (npz(y_train=np.arange(79) % 3), "80"),
    ):
        settle(page)  # a file that is chosen while the page is still being made is lost on a busy machine
        upload(page, 0, "broken.npz", content)
        alert = page.get_by_test_id("stAlert").filter(has_text=says)
        expect(alert.first).to_be_visible(timeout=LATE)
        assert "Traceback" not in page.inner_text("body")
        assert "dataset=npz" in page.url
        expect(page.get_by_text("80 training and 20 test samples, 3 classes")).to_be_visible(timeout=LATE)
        expect(start).to_be_enabled(timeout=LATE)


@pytest.mark.timeout(120)
def test_a_bundle_is_taken_in_and_a_corrupt_one_loses_nothing(address: str, page: Any, tmp_path: Path) -> None:
    there = Store(tmp_path / "there.db")
    study = studies.from_store(there, fill(there, SWEEP))
    assert study is not None
    whole = bundle.write(study, there, None)
    there.close()
    page.goto(f"{address}/export?study=example")
    settle(page)
    for name, content, says in (
        ("cut.zip", whole[: len(whole) // 2], "cut.zip: not a readable zip"),
        ("other.zip", b"nothing of the kind", "other.zip: not a readable zip"),
    ):
        upload(page, 0, name, content)
        alert = page.get_by_test_id("stAlert").filter(has_text=says)
        expect(alert.first).to_be_visible(timeout=LATE)
        expect(alert.first).to_contain_text("Nothing was taken in.")
        assert "study=example" in page.url
    upload(page, 0, "study.zip", whole)
    expect(page.get_by_text("study.zip: 27 runs taken in.")).to_be_visible(timeout=LATE)
    page.wait_for_url(re.compile(f"study={SWEEP.key}"))
    upload(page, 0, "again.zip", whole)
    told = "again.zip: 0 runs taken in; 27 were in the store already and stay as they are."
    expect(page.get_by_text(told)).to_be_visible(timeout=LATE)
    page.goto(f"{address}/runs?study={SWEEP.key}")
    settle(page)
    expect(page.get_by_text("27 of 27 runs")).to_be_visible(timeout=LATE)
