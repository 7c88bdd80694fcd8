"""One grammar: what is written for a form, a link or a command is read back as the same, and bad words are named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sam_dash import cli, command, variants
from sam_dash.maths.contract import Knob
from sam_dash.options import sweeps_of
from sam_dash.problems.datasets import DATASETS
from sam_dash.problems.problem import facts
from sam_dash.runs import grammar, presets
from sam_dash.runs.spec import MEASURES, Measures, Problem, SpecError, SweepSpec, Training, divisors
from sam_dash.ui import fields

KNOBS = {name: knob for v in variants.REGISTRY.values() for name, knob in v.knobs.items()}
EVERY = {**facts(Problem), **facts(Training), **facts(Measures), **KNOBS}


def allowed(knob: Knob) -> st.SearchStrategy[Any]:
    """Any value that a knob takes."""
    if knob.choices:
        return st.sampled_from(knob.choices)
    if knob.kind is bool:
        return st.booleans()
    if knob.kind is int:
        return st.integers(int(knob.low), int(min(knob.high, 2**31)))
    return st.floats(knob.low, min(knob.high, 1e30))


def some(knob: Knob) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(allowed(knob), min_size=1, max_size=2, unique=True).map(tuple)


@st.composite
def sweeps(draw: st.DrawFn) -> SweepSpec:
    """Any sweep of few runs, with every field drawn."""
    batch = draw(st.integers(1, 200))
    keys = draw(st.lists(st.sampled_from(list(variants.REGISTRY)), min_size=1, max_size=3, unique=True))
    names = sorted({name for key in keys for name in variants.get(key).knobs})
    chosen = draw(st.lists(st.sampled_from(names), max_size=2, unique=True)) if names else []
    images = draw(st.booleans())
    networks = st.sampled_from(["mlp:4", "mlp:8-3", "cnn:3", "resnet18:8"] if images else ["mlp:4", "mlp:300-100"])
    training = {name: draw(allowed(fact)) for name, fact in facts(Training).items()} | {"batch": batch}
    problem = {name: draw(allowed(fact)) for name, fact in facts(Problem).items()}
    if problem["scaling"] == "tokens":  # of data sets whose inputs are numbers there are none
        problem["scaling"] = "none"
    problem |= {"n_train": draw(st.sampled_from([0, 999])), "imbalance": draw(st.floats(1, 1.5))}
    measures = st.sets(st.sampled_from(list(MEASURES)))
    return SweepSpec(
        preset=draw(st.sampled_from(["", "digits", "elsewhere"])), variants=tuple(keys),
        m=tuple(draw(st.lists(st.sampled_from(divisors(batch)), max_size=2, unique=True))),
        knobs={name: draw(some(KNOBS[name])) for name in chosen},
        seeds=tuple(draw(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4, unique=True))),
        problem=Problem(dataset="mnist-5k" if images else "mnist1d", network=draw(networks), **problem),
        training=Training(**training),
        measures=Measures(what=tuple(draw(measures)), every=draw(st.integers(0, 10_000))),
        networks=tuple(draw(st.lists(networks, max_size=3, unique=True))),
    )  # fmt: skip


PRESETS = [sweep for preset in presets.PRESETS.values() for sweep in preset.sweeps]
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def from_the_form(sweep: SweepSpec) -> SweepSpec:
    base = presets.PRESETS.get(sweep.preset, presets.get(presets.FIRST)).sweep
    return fields.sweep(fields.values_of(sweep), base)


def widgets(sweep: SweepSpec) -> dict[str, Any]:
    """What the widgets of a form hold once they have read the link of a sweep, by the kind of the widget."""
    read: dict[str, Any] = {}
    for name, text in fields.query(sweep).items():
        kind = type(fields.values_of(sweep).get(name))
        listed = [text] if isinstance(text, str) else text
        if name in fields.SCALARS:
            read[name] = text == "true" if kind is bool else kind(text)
        elif kind is list:
            options: list[Any] = list(KNOBS[name].choices or (True, False)) if name in KNOBS else []
            options = divisors(sweep.training.batch) if name == "m" else options
            shown = {str(o).lower() if isinstance(o, bool) else str(o): o for o in options}
            read[name] = [shown.get(word, word) for word in listed if word != ""]
        else:
            read[name] = text
    return read


def from_the_link(sweep: SweepSpec) -> SweepSpec:
    read = widgets(sweep)
    assert (
        fields.tidied({k: v if isinstance(v, str) else v[-1] for k, v in fields.query(sweep).items()}, DATASETS)[1]
        == []
    )
    return fields.sweep(read, presets.get(read["preset"]).sweep)


def from_the_command(sweep: SweepSpec) -> SweepSpec:
    base = presets.PRESETS.get(sweep.preset, presets.get(presets.FIRST))
    name = next(n for n, p in presets.PRESETS.items() if p is base)
    said = command.words(base.sweep, sweep)
    return sweeps_of(cli._parser().parse_args(["run", "--preset", name, *said]))[0]


@pytest.mark.parametrize("way", [from_the_form, from_the_link, from_the_command])
def test_a_sweep_goes_there_and_back_through_the_form_a_link_and_a_command(way: Any) -> None:
    @quick
    @given(sweeps())
    def back(sweep: SweepSpec) -> None:
        again = way(sweep)
        assert again.runs() == sweep.runs()
        assert (again.seeds, again.variants, again.networks) == (sweep.seeds, sweep.variants, sweep.networks)
        assert way(again) == again, "and what has come back stays as it is"

    back()


@pytest.mark.parametrize("way", [from_the_form, from_the_link])
@pytest.mark.parametrize("sweep", PRESETS, ids=lambda s: f"{s.preset} {s.training.lr} {s.training.batch}")
def test_a_preset_goes_there_and_back(way: Any, sweep: SweepSpec) -> None:
    again = way(sweep)
    assert again.runs() == sweep.runs()
    first = presets.get(sweep.preset).sweep
    assert again == (sweep if sweep == first else replace(sweep, preset="")), "a name is of one problem and training"


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_is_its_own_command(name: str) -> None:
    assert command.words(presets.get(name).sweep, presets.get(name).sweep) == []


@pytest.mark.parametrize("name", EVERY)
def test_every_value_of_a_knob_and_of_a_field_is_read_as_it_was_written(name: str) -> None:
    knob = EVERY[name]

    @quick
    @given(some(knob))
    def back(values: tuple[Any, ...]) -> None:
        assert grammar.values(name, knob, grammar.texts(values)) == values
        assert grammar.value(name, knob, grammar.text(values[0])) == values[0]
        assert type(grammar.value(name, knob, grammar.text(values[0]))) is type(values[0])

    back()


seeds = st.lists(st.integers(0, 50) | st.integers(0, 2**31 - 1), min_size=1, max_size=30, unique=True).map(tuple)


@given(seeds, st.sampled_from([", ", ","]))
def test_seeds_are_read_as_they_were_written_and_never_written_as_a_number_alone(found, between) -> None:
    text = grammar.seeds_text(found, between)
    assert grammar.seeds(text) == found
    assert not grammar.count(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0-4", (0, 1, 2, 3, 4)), ("5-5", (5,)), ("7, 3", (7, 3)), ("0-2, 7", (0, 1, 2, 7)), ("10 – 12", (10, 11, 12)),
        ("1;2 3", (1, 2, 3)), ("3-5,4", (3, 4, 5)), ("5", (0, 1, 2, 3, 4)),
        (" 1 ", (0,)), ("2147483647, 0", (2**31 - 1, 0)),
    ],
)  # fmt: skip
def test_seeds_are_values_and_ranges_and_a_number_alone_is_how_many(text: str, found: tuple[int, ...]) -> None:
    assert grammar.seeds(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "5-3",
        "a",
        "1-99999",
        "1.5",
        "-1",
        "1--2",
        "1-2-3",
        "2147483648, 0",
        "9" * 5000,
        "٣",
        "1e3",
        "0-4999, 7",
    ],
)
def test_other_seeds_are_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(SpecError, match=r"seeds .*expected seeds such as 0-4 or 3, 7, 10-14") as refused:
        grammar.seeds(text)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("lr", "x", "lr = 'x': expected a number in [1e-08, 100]"),
        ("lr", "nan", "lr = 'nan': expected a number in [1e-08, 100]"),
        ("lr", "1e400", "lr = '1e400': expected a number in [1e-08, 100]"),
        ("lr", "1_0", "lr = '1_0': expected a number in [1e-08, 100]"),
        ("epochs", "2.5", "epochs = '2.5': expected a whole number in [1, 10000]"),
        ("epochs", "0", "epochs = '0': expected a whole number in [1, 10000]"),
        ("schedule", "step", "schedule = 'step': expected one of cosine, constant"),
        ("nesterov", "yes", "nesterov = 'yes': expected true or false"),
        ("rho", "-.1", "rho = '-.1': expected a number in [0, 100]"),
        ("rho", "inf", "rho = 'inf': expected a number in [0, 100]"),
    ],
)
def test_a_refusal_names_the_word_and_what_was_expected(name: str, text: str, message: str) -> None:
    for read in (grammar.value, grammar.values):
        with pytest.raises(SpecError) as refused:
            read(name, EVERY[name], text)
        assert str(refused.value) == message


def test_default_stands_for_the_default_of_each_variant() -> None:
    assert grammar.values("rho", EVERY["rho"], "default") == ()
    sweep = SweepSpec(variants=("sam", "asam"))
    assert from_the_form(sweep).runs() == sweep.runs()
    assert {run.knobs["rho"] for run in sweep.runs()} == {variants.get(k).knobs["rho"].default for k in ("sam", "asam")}


@pytest.mark.parametrize("kind", [float, int])
def test_a_knob_without_an_upper_bound_refuses_infinity(kind: type) -> None:
    with pytest.raises(ValueError, match="expected a"):
        Knob("k", "", kind=kind).check("k", float("inf"))
