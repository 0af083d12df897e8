"""Pictures are files that appear whole, are not blank, and can be read: no label covers another or a node."""

import itertools
import math
import re
import statistics

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Circle

from nas.analysis import plots
from nas.analysis.plots import cells, curves, evolution, weights
from nas.analysis.plots.names import FAMILIES, family, line_style, short_name
from nas.errors import ConfigError
from nas.genotype import Cell, Edge, Genotype, parse, published

GENOTYPES = {f"{name}-{space}": one for name, spaces in published().items() for space, one in spaces.items()}
GENOTYPES["nasbench201"] = parse(
    "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
)
GENOTYPES["lonely node"] = Genotype(
    "dso", {"block_0": Cell(((), (Edge(0, "noise"),) * 3), (0, 1, 2), inputs=1)}
)
EDGES = [(source, target) for target in range(2, 6) for source in range(target)]
OPERATIONS = ["none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5"]


def picture(path):
    """The pixels [H, W, 4] of a finished picture, after the checks that every picture must pass."""
    pixels = imread(path)
    height, width, _ = pixels.shape
    assert 200 <= width <= 1600 and 100 <= height <= 1600
    assert (pixels[..., :3].min(axis=2) < 0.6).mean() > 0.002, "blank"
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge[:, :3] > 0.99).all(), "something touches the border and may be cut off"
    return pixels


@pytest.mark.parametrize("name", GENOTYPES)
def test_every_genotype_draws_and_leaves_only_its_two_files(name, tmp_path):
    path = plots.draw_genotype(GENOTYPES[name], tmp_path / "figures" / "cell.png", title=name)
    picture(path)
    assert {file.name for file in path.parent.iterdir()} == {"cell.png", "cell.dot"}
    assert path.with_suffix(".dot").read_text(encoding="utf-8") == plots.to_dot(GENOTYPES[name])


def test_both_cells_of_darts_stand_side_by_side_about_as_wide_as_a_page(tmp_path):
    height, width, _ = picture(plots.draw_genotype(GENOTYPES["DARTS_V2-darts"], tmp_path / "a.png")).shape
    assert 1000 <= width <= 1440 and height < width / 2


def _one_cell(cell, recurrent=False):
    figure = Figure(figsize=(9, 6), dpi=100)
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    cells._draw(ax, cells.Plan(cell, "cell", recurrent))
    canvas.draw()
    return figure, ax


CELLS = [(name, group) for name, genotype in GENOTYPES.items() for group, _ in genotype.cells]


@pytest.mark.parametrize(("name", "group"), CELLS)
def test_no_text_covers_another_text_or_leaves_the_picture(name, group):
    cell = GENOTYPES[name][group]
    figure, ax = _one_cell(cell, GENOTYPES[name].space == "darts_rnn")
    boxes = {text: text.get_window_extent() for text in ax.texts}
    shown = sorted(text.get_text() for text in boxes if text.get_gid() == "label")
    assert shown == sorted(short_name(edge.operation) for _, edge in cell.edges)
    for (one, a), (two, b) in itertools.combinations(boxes.items(), 2):
        assert not a.overlaps(b), f"{one.get_text()} covers {two.get_text()}"
    for text, box in boxes.items():
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text.get_text()
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text.get_text()


@pytest.mark.parametrize(("name", "group"), CELLS)
def test_no_label_covers_a_node(name, group):
    recurrent = GENOTYPES[name].space == "darts_rnn"
    _, ax = _one_cell(GENOTYPES[name][group], recurrent)
    circles = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, Circle)]
    assert len(circles) == len(GENOTYPES[name][group].nodes) + recurrent
    for text in ax.texts:
        if text.get_gid() in ("label", "given"):
            assert not any(circle.overlaps(text.get_window_extent()) for circle in circles), text.get_text()


RECURRENT = [name for name, genotype in GENOTYPES.items() if genotype.space == "darts_rnn"]


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_cell_starts_from_the_word_and_the_last_output_and_ends_in_a_mean(name):
    cell = GENOTYPES[name]["recurrent"]
    _, ax = _one_cell(cell, recurrent=True)
    shown = [text.get_text() for text in ax.texts]
    assert {text for text in shown if "$" in text} == {"$x_t$", "$h_{t-1}$", "$h_t$ (mean)"}
    # Node 0 is the first state, which takes both through a tanh that nobody searched for.
    numbers = sorted(int(text) for text in shown if text.isdigit())
    assert numbers == list(range(len(cell.nodes) + 1))
    assert [text.get_text() for text in ax.texts if text.get_gid() == "given"] == ["tanh"]
    place = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert place["$x_t$"].x1 < place["0"].x0 and place["$h_{t-1}$"].x1 < place["0"].x0 < place["1"].x0


def test_graphviz_text_of_a_recurrent_cell_names_its_inputs():
    text = plots.to_dot(GENOTYPES["DARTS_V1-darts_rnn"])
    for line in (
        '"recurrent/x_t" -> "recurrent/0" [label="tanh"',
        '"recurrent/h_{t-1}" -> "recurrent/0" [label="tanh"',
        '"recurrent/0" [label="0"]',
        '"recurrent/output" [label="h_t (mean)"',
    ):
        assert text.count(line) == 1


def test_the_candidates_of_recurrent_cells_have_a_colour_each_whatever_their_order():
    names = ["none", "tanh", "relu", "sigmoid", "identity"]
    colours = {name: line_style(index, name)["color"] for index, name in enumerate(names)}
    assert len(set(colours.values())) == 5
    assert colours == {name: line_style(index, name)["color"] for index, name in enumerate(names[::-1])}
    assert {FAMILIES[family(name)] for name in names} == set(colours.values())


@pytest.mark.parametrize("name", GENOTYPES)
def test_the_graphviz_text_has_every_edge_once(name):
    text = plots.to_dot(GENOTYPES[name])
    found = re.findall(r'"(.+)/(\d+)" -> "\1/(\d+)" \[label="([^"]*)"', text)
    wanted = [
        (group, str(edge.source), str(target), edge.operation)
        for group, cell in GENOTYPES[name].cells
        for target, edge in cell.edges
    ]
    assert sorted(found) == sorted(wanted)
    assert text.count('/output" [color') == sum(len(cell.output) for _, cell in GENOTYPES[name].cells)


def test_graphviz_text_quotes_odd_names():
    odd = Genotype("dso", {'a"b': Cell(((Edge(0, 'x\\"y\n'),),), (1,), inputs=1)})
    text = plots.to_dot(odd)
    assert r'label="x\\\"y\n"' in text and r'label="a\"b"' in text


def test_names_are_short_and_families_sensible():
    names = {
        "sep_conv_3x3": ("sep 3\u00d73", "separable"),
        "dil_conv_5x5": ("dil 5\u00d75", "dilated"),
        "max_pool_3x3": ("max 3\u00d73", "pooling"),
        "nor_conv_1x1": ("conv 1\u00d71", "convolution"),
        "conv_7x1_1x7": ("conv 7\u00d71 1\u00d77", "convolution"),
        "skip_connect": ("skip", "skip"),
        "identity": ("identity", "identity"),
        "tanh": ("tanh", "tanh"),
        "gelu": ("gelu", "activation"),
        "none": ("none", "none"),
        "noise": ("noise", "other"),
        "": ("", "other"),
        "cost_$5": (r"cost \$5", "other"),
    }
    assert {name: (short_name(name), family(name)) for name in names} == names


def test_op_weights_of_two_groups(tmp_path):
    weights_EO = np.random.default_rng(0).dirichlet(np.ones(5), 14)
    both = {"normal": weights_EO, "reduce": weights_EO.tolist()}
    path = tmp_path / "weights.png"
    plots.draw_op_weights(
        both, dict.fromkeys(both, OPERATIONS), dict.fromkeys(both, EDGES), path, title="epoch 3"
    )
    picture(path)


def test_op_weights_whose_operations_differ_by_edge_and_are_negative_or_pruned(tmp_path):
    rows = [[0.7, -0.3], [math.nan, 1.0, 0.2]]
    names = [["skip_connect", "none"], ["sep_conv_3x3", "none", "noise"]]
    picture(
        plots.draw_op_weights({"cell": rows}, {"cell": names}, {"cell": EDGES[:2]}, tmp_path / "weights.png")
    )


def drawn_axes(monkeypatch, module):
    """What `save` is given from now on: a list that figures are added to."""
    figures = []
    save = module.save
    monkeypatch.setattr(module, "save", lambda figure, *rest: figures.append(figure) or save(figure, *rest))
    return figures


def test_a_heat_map_is_white_at_uniform_and_marks_what_derivation_takes_and_cannot(tmp_path, monkeypatch):
    figures = drawn_axes(monkeypatch, weights)
    rows = [[0.25, 0.2, 0.2, 0.2, 0.15], [math.nan, 0.5, 0.25, 0.25, math.nan]]
    cell = Cell(((Edge(0, "max_pool_3x3"), Edge(1, "skip_connect")),), (2,))
    plots.draw_op_weights(
        {"normal": rows},
        {"normal": OPERATIONS},
        {"normal": [(0, 2), (1, 2)]},
        tmp_path / "weights.png",
        genotype=Genotype("darts", {"normal": cell}),
        barred={"none"},
        caption="run a$b, data digits, seed 3",
    )
    pixels, (figure,) = picture(tmp_path / "weights.png"), figures
    assert pixels.shape[0] > 100 * figure.get_size_inches()[1], "the caption has room of its own"
    assert "run a$b, data digits, seed 3" in [text.get_text() for text in figure.texts]
    ax = figure.axes[0]
    coloured = ax.images[0].get_array()
    # One of 5 on the first edge is uniform, and one of the 3 that are left on the second.
    assert np.allclose(coloured[0], np.log2([1.25, 1.0, 1.0, 1.0, 0.75]), atol=1e-6)
    assert np.allclose(coloured[1, 1:4], np.log2([1.5, 0.75, 0.75]), atol=1e-6)
    assert ax.images[0].norm.vmin == -ax.images[0].norm.vmax
    marked = {kind: [p.get_xy() for p in ax.patches if bool(p.get_hatch()) is kind] for kind in (True, False)}
    assert marked[False] == [(0.5, -0.5), (1.5, 0.5)]
    assert sorted(marked[True]) == [(-0.5, -0.5), (-0.5, 0.5), (3.5, 0.5)]


CHAIN = [(source, target) for target in range(1, 9) for source in range(target)]


def test_op_weights_of_very_many_edges_take_two_maps_cut_between_nodes(tmp_path, monkeypatch):
    figures = drawn_axes(monkeypatch, weights)
    weights_EO = np.random.default_rng(0).dirichlet(np.ones(5), 36)
    one = {"recurrent": weights_EO}
    path = plots.draw_op_weights(one, {"recurrent": OPERATIONS}, {"recurrent": CHAIN}, tmp_path / "a.png")
    assert picture(path).shape[0] < 1000
    left, right, _ = figures[0].axes
    ticks = [[tick.get_text() for tick in ax.get_yticklabels()] for ax in (left, right)]
    assert ticks[0] + ticks[1] == [f"{source}\u2192{target}" for source, target in CHAIN]
    assert (ticks[0][-1], ticks[1][0]) == ("4\u21925", "0\u21926")
    assert left.get_title(loc="left") == "recurrent, nodes 1 to 5"
    shown = [text.get_text() for ax in (left, right) for text in ax.texts]
    assert shown == [f"{value:.2f}" for value in weights_EO.flatten()]


def test_panels_of_36_edges_fill_their_rows(tmp_path, monkeypatch):
    figures = drawn_axes(monkeypatch, evolution)
    history_TEO = np.random.default_rng(0).dirichlet(np.ones(5), (3, 36))
    edges = {"recurrent": CHAIN}
    picture(
        plots.draw_weight_evolution(
            {"recurrent": history_TEO}, {"recurrent": OPERATIONS}, edges, tmp_path / "a.png"
        )
    )
    assert len(figures[0].axes) == 36 and all(ax.get_visible() for ax in figures[0].axes)


@pytest.mark.parametrize(
    ("values", "scale"), [((900.0, 95.0, 60.0), "log"), ((70.0, 61.0), "linear"), ((5.0, math.inf), "linear")]
)
def test_perplexity_has_an_axis_of_its_own_logarithmic_over_more_than_a_decade(
    values, scale, tmp_path, monkeypatch
):
    figures = drawn_axes(monkeypatch, curves)
    rows = [
        {"epoch": epoch, "train_loss": math.log(value), "train_perplexity": value, "valid_perplexity": value}
        for epoch, value in enumerate(values)
    ]
    picture(plots.draw_curves(rows, tmp_path / "curves.png"))
    loss, perplexity = figures[0].axes
    assert perplexity.get_title(loc="left") == "perplexity (lower is better)"
    assert (loss.get_yscale(), perplexity.get_yscale()) == ("linear", scale)
    figures[0].canvas.draw()
    low, high = perplexity.get_ylim()
    inside = [t.get_text() for t in perplexity.get_yticklabels() if low <= t.get_position()[1] <= high]
    assert len(inside) >= 3 and all(float(text) > 0 for text in inside), "plain numbers, not powers"


METRICS = {
    "weight_loss": 1.0,
    "weight_accuracy": 0.5,
    "normal_entropy": 2.0,
    "num_skip": 1,
    "learning_rate": 0.1,
}


@pytest.mark.parametrize(
    "rows",
    [
        [{"epoch": epoch, **METRICS, "hessian_eigenvalue": 0.1 * epoch} for epoch in range(30)],
        [{"epoch": 0, **METRICS}],
        [
            {"epoch": "0", "train_loss": "1.5", "valid_loss": ""},
            {"epoch": "1", "train_loss": "nan", "valid_loss": "2"},
        ],
        [{"train_loss": None}, {"train_loss": 1.0}, {"train_loss": math.inf}],
    ],
    ids=["many", "one epoch", "strings with gaps", "no epoch column"],
)
def test_curves_of_whatever_was_recorded(rows, tmp_path):
    picture(plots.draw_curves(rows, tmp_path / "curves.png"))


def test_every_kind_of_metric_has_its_panel(tmp_path):
    one = plots.draw_curves([{"epoch": 0, "train_loss": 1.0}], tmp_path / "one.png")
    four = plots.draw_curves([{"epoch": 0, **METRICS}], tmp_path / "four.png")
    assert picture(four).shape[1] == 3 * picture(one).shape[1]
    assert picture(four).shape[0] == 2 * picture(one).shape[0]


def test_weight_evolution_of_two_groups_with_pruned_operations(tmp_path):
    history_TEO = np.random.default_rng(0).dirichlet(np.ones(5), (4, 14))
    history_TEO[2:, :, 1] = np.nan
    history_TEO[2:, 3] = np.nan
    path = tmp_path / "evolution.png"
    history = dict.fromkeys(("normal", "reduce"), history_TEO)
    names, edges = dict.fromkeys(history, OPERATIONS), dict.fromkeys(history, EDGES)
    picture(plots.draw_weight_evolution(history, names, edges, path))


def test_lines_with_a_gap(tmp_path):
    x = [1, 2, 3]
    series = {"ours": (x, [1.0, 0.1, 0.0]), "theirs": (x, [1.0, math.nan, 0.5])}
    picture(plots.draw_lines(series, tmp_path / "lines.png", "step", "error", "title"))


def test_a_comparison_leaves_out_failed_seeds(tmp_path):
    groups = {"searched": [97.0, 97.2, math.nan], "random": [96.5]}
    picture(plots.draw_comparison(groups, tmp_path / "dots.png", "accuracy (%)", "CIFAR-10"))


def test_no_bar_of_a_comparison_leads_beyond_what_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.analysis.plots.lines.save", lambda figure, path: figure)
    figure = plots.draw_comparison({"random": [10.0, 98.0, 97.0]}, tmp_path / "a.png", "%", "", (0, 100))
    [bar] = figure.axes[0].containers
    [(_, low), (_, high)] = bar[2][0].get_segments()[0]
    mean, spread = statistics.mean([10.0, 98.0, 97.0]), statistics.stdev([10.0, 98.0, 97.0])
    assert (low, high) == (pytest.approx(mean - spread), 100) and mean + spread > 100


BAD_INPUT = {
    "weights too short": lambda path: plots.draw_op_weights(
        {"a": [[1.0]]}, {"a": ["x", "y"]}, {"a": [(0, 1)]}, path
    ),
    "rows and edges differ": lambda path: plots.draw_op_weights(
        {"a": [[1.0]]}, {"a": ["x"]}, {"a": EDGES}, path
    ),
    "no operation": lambda path: plots.draw_weight_evolution(
        {"a": [[[1.0]]]}, {"a": []}, {"a": [(0, 1)]}, path
    ),
    "group without names": lambda path: plots.draw_op_weights({"a": [[1.0]]}, {}, {"a": [(0, 1)]}, path),
    "nothing recorded": lambda path: plots.draw_curves([{"epoch": 0, "loss": ""}], path),
    "no rows": lambda path: plots.draw_curves([], path),
    "metric is a word": lambda path: plots.draw_curves([{"loss": "high"}], path),
    "history of two axes": lambda path: plots.draw_weight_evolution(
        {"a": [[1.0]]}, {"a": ["x"]}, {"a": [(0, 1)]}, path
    ),
    "history without epochs": lambda path: plots.draw_weight_evolution(
        {"a": np.zeros((0, 2, 1))}, {"a": ["x"]}, {"a": [(0, 1), (0, 2)]}, path
    ),
    "series of unlike lengths": lambda path: plots.draw_lines({"a": ([1], [1, 2])}, path, "x", "y", "z"),
    "group without values": lambda path: plots.draw_comparison({"a": [math.nan]}, path, "y", "z"),
    "unknown suffix": lambda path: plots.draw_comparison({"a": [1.0]}, path.with_suffix(".txt"), "y", "z"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_refused_and_leaves_no_file(case, tmp_path):
    with pytest.raises(ConfigError, match="figure"):
        BAD_INPUT[case](tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.png: cannot write"):
        plots.draw_comparison({"a": [1.0]}, tmp_path / "file" / "a.png", "y", "z")


def test_a_picture_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ConfigError, match="cannot write"):
        plots.draw_comparison({"a": [1.0]}, tmp_path / "a.png", "y", "z")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_the_same_data_give_the_same_picture_and_old_ones_are_replaced_whole(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"half a picture")
    first = plots.draw_genotype(GENOTYPES["DARTS_V1-darts"], path).read_bytes()
    assert plots.draw_genotype(GENOTYPES["DARTS_V1-darts"], path).read_bytes() == first
