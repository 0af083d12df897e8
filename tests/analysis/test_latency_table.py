"""Latency tables: written and read again, refused where damaged; a network takes the sum of its pieces."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.analysis.cost.latency import Latency, clock_of, latency_of
from nas.analysis.cost.latency_table import (
    Conditions,
    LatencyTable,
    Line,
    Predictor,
    check_conditions,
    fit_line,
    parse_table,
    read_table,
)
from nas.errors import ConfigError
from nas.measure.latencies import random_architectures
from nas.spaces.darts.space import DartsSpace
from nas.spaces.nasbench201.space import NasBench201Space
from nas.spaces.pieces import Piece
from nas.spaces.space import ImageInputs

HERE = Conditions("some processor", 2, 1, "32-true", True)
SPACE = DartsSpace("darts", ["none", "skip_connect", "sep_conv_3x3", "max_pool_3x3"])
SHAPE, SIZES = (3, 32, 32), {"num_cells": 6, "init_channels": 8}

sizes = st.integers(1, 10**6)
times = st.floats(0, 1e6, allow_nan=False)
wholes = st.integers(-(2**63), 2**63 - 1)
pieces = st.builds(Piece, st.text(min_size=1, max_size=12), sizes, sizes, sizes, sizes, sizes, sizes)
tables = st.builds(
    LatencyTable,
    st.builds(
        Conditions, st.text(), sizes, sizes, st.text(), st.booleans(), st.sampled_from(["wall", "cpu"])
    ),
    st.dictionaries(pieces, st.builds(Latency, times, times, st.integers(2, 99)), max_size=8),
    st.dictionaries(st.text(), st.text() | wholes | st.lists(wholes) | st.none(), max_size=4),
    st.none() | st.builds(Line, st.integers(3, 99), *[st.floats(-1e3, 1e3)] * 6),
)


def fake_table(layout, line=None):
    """Every piece takes another time, made up of its numbers."""
    listed = layout.all()
    entries = {piece: Latency(1 + 0.37 * i + piece.channels / 7, 0.1, 5) for i, piece in enumerate(listed)}
    return LatencyTable(HERE, entries, {"space": "darts"}, line)


@given(tables)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(table):
    assert parse_table(table.to_json()) == table


def test_the_latency_of_a_network_is_the_sum_over_its_cells_node_by_node():
    layout = SPACE.pieces(ImageInputs(SHAPE, 10), **SIZES)
    table = fake_table(layout)
    time = {piece.key: one.median for piece, one in table.entries.items()}
    predict = Predictor(table, layout, "nas.latency")
    for genotype in random_architectures(SPACE, 10, seed=0):
        # Literally: six cells, of which the third and the fifth reduce; 8 channels, a stem of 24.
        total = time["stem_cifar@3x32x32>24"]
        channels, side, before_last, last, reduced = 8, 32, 24, 24, False
        for index in range(6):
            reduction = index in (2, 4)
            channels *= 2 if reduction else 1
            if reduced:
                total += time[f"preprocess@{before_last}x{2 * side}x{2 * side}>{channels}/2"]
            else:
                total += time[f"preprocess@{before_last}x{side}x{side}>{channels}"]
            total += time[f"preprocess@{last}x{side}x{side}>{channels}"]
            cell = genotype["reduce" if reduction else "normal"]
            after = side // 2 if reduction else side
            for node in cell.nodes:
                for edge in node:
                    if reduction and edge.source in (0, 1):
                        total += time[f"{edge.operation}@{channels}x{side}x{side}/2"]
                    else:
                        total += time[f"{edge.operation}@{channels}x{after}x{after}"]
                total += time[f"add@2*{channels}x{after}x{after}"]
            total += time[f"concat@4*{channels}x{after}x{after}>{4 * channels}"]
            before_last, last, side, reduced = last, 4 * channels, after, reduction
        total += time[f"classifier@{last}x{side}x{side}>10"]
        assert predict(genotype) == pytest.approx(total, rel=1e-12)
        assert predict(genotype) == predict.sum(genotype)


def test_a_cell_of_nasbench201_computes_no_none():
    space = NasBench201Space("nb", cells_per_stage=2, init_channels=4)
    layout = space.pieces(ImageInputs(SHAPE, 10))
    table = fake_table(layout)
    time = {piece.key: one.median for piece, one in table.entries.items()}
    fixed = time["stem@3x32x32>4"] + time["residual@4x32x32>8/2"] + time["residual@8x16x16>16/2"]
    fixed += time["head@16x8x8>10"]
    for genotype in random_architectures(space, 10, seed=0):
        total = fixed
        for channels, side in ((4, 32), (8, 16), (16, 8)):
            for node in genotype["cell"].nodes:
                names = [edge.operation for edge in node if edge.operation != "none"]
                total += 2 * sum(time[f"{name}@{channels}x{side}x{side}"] for name in names)
                if names:
                    total += 2 * (len(names) - 1) * time[f"add@2*{channels}x{side}x{side}"]
                else:
                    total += 2 * time[f"zeros@{channels}x{side}x{side}"]
        assert Predictor(table, layout, "")(genotype) == pytest.approx(total, rel=1e-12)


def test_a_fitted_line_corrects_sums_if_it_is_wanted():
    layout = SPACE.pieces(ImageInputs(SHAPE, 10), **SIZES)
    line = Line(5, 1.5, -2.0, 0.9, 0.95, 0.1, 0.05)
    table, genotype = fake_table(layout, line), random_architectures(SPACE, 1, seed=1)[0]
    plain = Predictor(table, layout, "")(genotype)
    assert Predictor(table, layout, "", fitted=True)(genotype) == 1.5 * plain - 2
    assert replace(line, intercept=-1e9)(plain) == 0
    assert Predictor(replace(table, line=None), layout, "", fitted=True)(genotype) == plain
    with pytest.raises(ConfigError, match=r"slope -1.*latency\.fitted=false"):
        Predictor(replace(table, line=replace(line, slope=-1.0)), layout, "", fitted=True)


def test_what_a_table_lacks_is_named_with_the_command_that_measures_it():
    table = fake_table(SPACE.pieces(ImageInputs(SHAPE, 10), **SIZES))
    command = "python -m nas.latency space=darts"
    with pytest.raises(ConfigError, match=r"t=x: .*lacks sep_conv_3x3@16x32x32; .* at 8x32x32"):
        table.milliseconds(Piece("sep_conv_3x3", 16, 32, 32), command, "t=x")
    with pytest.raises(ConfigError, match=f"it has no blur at all. Measure it with: {command}"):
        table.milliseconds(Piece("blur", 8, 32, 32), command)
    wider = Predictor(table, SPACE.pieces(ImageInputs(SHAPE, 10), num_cells=6, init_channels=10), command)
    with pytest.raises(ConfigError, match="lacks stem_cifar@3x32x32>30"):
        wider(random_architectures(SPACE, 1, seed=0)[0])


def test_tables_of_other_conditions_are_refused_with_what_differs():
    table = LatencyTable(HERE, {}, {})
    assert check_conditions(table, HERE, False, "") is True
    there = replace(HERE, threads=8, batch_size=64, channels_last=False)
    words = "x: measured .*: threads 2, not 8; batch_size 1, not 64; channels_last true, not false"
    with pytest.raises(ConfigError, match=words):
        check_conditions(table, there, False, "x")
    assert check_conditions(table, there, True, "x") is False


def broken(change):
    data = json.loads(LatencyTable(HERE, {Piece("a", 1, 2, 3): Latency(1.0, 0.1, 5)}, {}).to_json())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "damaged"),
        ("[]", "no latency table"),
        ('{"milliseconds": {}}', "no latency table"),
        (broken(lambda data: data.update(schema=9)), "schema 9"),
        (broken(lambda data: data["conditions"].pop("threads")), "damaged"),
        (broken(lambda data: data["conditions"].update(cores=2)), "damaged"),
        (broken(lambda data: data["pieces"][0].update(milliseconds=-1)), "damaged or repeated"),
        (broken(lambda data: data["pieces"][0].update(milliseconds="fast")), "damaged or repeated"),
        (broken(lambda data: data["pieces"][0].update(channels=0)), "damaged or repeated"),
        (broken(lambda data: data["pieces"].append(data["pieces"][0])), "damaged or repeated"),
        (broken(lambda data: data.pop("pieces")), "damaged"),
        (broken(lambda data: data.update(line={"n": 3})), "damaged"),
    ],
)
def test_damaged_tables_are_refused(text, words, tmp_path):
    (tmp_path / "latency.json").write_text(text)
    with pytest.raises(ConfigError, match=rf"latency\.table={tmp_path}.*{words}"):
        read_table(tmp_path)


def test_a_missing_table_says_who_writes_one(tmp_path):
    with pytest.raises(ConfigError, match=r"method\.latency_table=.*nas\.latency writes latency\.json"):
        read_table(tmp_path / "none.json", "method.latency_table")


def test_a_line_through_networks_says_how_far_sums_can_be_trusted():
    sums = [10.0, 12.0, 15.0, 20.0]
    line = fit_line(sums, [2 * one + 1 for one in sums])
    assert (line.slope, line.intercept) == pytest.approx((2, 1))
    assert (line.kendall, line.spearman, line.n) == pytest.approx((1, 1, 4))
    # 10/21, 12/25, 15/31 and 20/41 of what was measured.
    assert line.error == pytest.approx(((1 - 12 / 25) + (1 - 15 / 31)) / 2)
    assert line.error_fitted == pytest.approx(0, abs=1e-12)
    # One pair of the three is in the wrong order.
    assert fit_line([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]).kendall == pytest.approx(1 / 3)
    assert fit_line([1.0, 2.0, 3.0], [2.0, 2.0, 2.0]).spearman == 0
    with pytest.raises(ConfigError, match="at least 3"):
        fit_line([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ConfigError, match="the same pieces"):
        fit_line([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])


def test_clocks():
    clock_of("wall", "cuda", 8)
    assert clock_of("cpu", "cpu", 1)() >= 0
    with pytest.raises(ConfigError, match=r"latency\.clock=sun: unknown; known are wall, cpu"):
        clock_of("sun", "cpu", 1)
    for device, threads in (("cuda", 1), ("cpu", 2)):
        with pytest.raises(ConfigError, match=r"hardware\.threads=1"):
            clock_of("cpu", device, threads)
    found = latency_of([0.001, 0.002, 0.003, 0.004, 0.010])
    assert (found.median, found.spread, found.repeats) == pytest.approx((3, 2, 5))
