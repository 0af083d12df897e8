"""Pictures of DSO-NAS blocks and of a sparse search: everything is there, readable, and nothing collides."""

import itertools
import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread
from matplotlib.patches import FancyBboxPatch, PathPatch

from nas.analysis import plots
from nas.analysis.plots import shapes
from nas.analysis.plots.blocks import DEAD_LINE, DEAD_TEXT, OUTPUT_LINE, SHORTCUT, draw_blocks
from nas.analysis.plots.names import FAMILIES, INK, TIMES
from nas.analysis.plots.sparsity import draw_sparsity
from nas.errors import ConfigError
from nas.genotype import Cell, Edge, Genotype, parse
from nas.spaces.dso.layout import BlockLayout
from tests.analysis.test_plots import picture

NAMES = ("sep_conv_3x3", "sep_conv_5x5", "max_pool_3x3", "avg_pool_3x3")
LAYOUT = BlockLayout(4, NAMES)
BOTH = parse("DSO(reduce_1:2[1=conv_1x1(0) 2=conv_3x3(0)]>1,2)")["reduce_1"]
ALIVE = "16[2=sep_conv_5x5(0) 3=max_pool_3x3(0) 5=sep_conv_3x3(0,2) 16=avg_pool_3x3(0,3,5)]>5,16"
SHARED = parse(
    f"DSO(block:{ALIVE}; reduce_1:2[1=conv_1x1(0) 2=conv_3x3(0)]>1,2; reduce_2:2[2=conv_3x3(0)]>2)"
)
DEAD = Cell(((),) * 16, (0,), 1)


def block(step):
    """A block whose operations are fed by every `step`-th node before them; 1 for all."""
    nodes = [
        tuple(
            Edge(source, LAYOUT.operation(node))
            for source in range(0, LAYOUT.num_sources(LAYOUT.level(node)), step)
        )
        for node in range(1, 17)
    ]
    return Cell(tuple(nodes), tuple(range(1, 17, step)), 1)


FULL = Genotype(
    "dso", {f"block_{n:02}": block(n) for n in range(1, 25)} | {"reduce_1": BOTH, "reduce_2": BOTH}
)
GENOTYPES = {
    "shared": SHARED,
    "full": FULL,
    "whole": Genotype("dso", {"block": block(1), "reduce_1": BOTH}),
    "dead": Genotype("dso", {"block": DEAD, "reduce_1": BOTH}),
    "nothing but dead": Genotype("dso", {"block": DEAD}),
    "no group of the space": parse("DSO(other:2+2[2=noise(0,1)+sep_conv_3x3(1)]>1,2)"),
}  # fmt: skip


def groups(genotype, layout=LAYOUT):
    """What the space knows of the cells: their edges and operations by group."""
    reduction = ((0, 1), (0, 2)), (("conv_1x1",), ("conv_3x3",))
    found = {
        name: reduction if name.startswith("reduce") else (layout.edges, layout.candidates)
        for name, _ in genotype.cells
        if name.startswith(("block", "reduce"))
    }
    return {name: one[0] for name, one in found.items()}, {name: one[1] for name, one in found.items()}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """`drawn(genotype, ...)` -> the axes of its picture, one a distinct block, as they would be saved."""

    def draw(genotype, *arguments):
        figures = []
        monkeypatch.setattr(shapes, "save", lambda figure, path, *caption: figures.append(figure))
        draw_blocks(genotype, tmp_path / "a.png", *arguments)
        figures[0].canvas.draw()
        return figures[0].axes

    return draw


def lines(ax, *colours):
    """How many lines have one of these colours."""
    wanted = {to_hex(colour) for colour in colours}
    drawn = [patch for patch in ax.patches if isinstance(patch, PathPatch)]
    return sum(to_hex(line.get_edgecolor()) in wanted for line in drawn)


def labels(ax, colour):
    return [text.get_text() for text in ax.texts if text.get_gid() == "label" and text.get_color() == colour]


@pytest.mark.parametrize(
    ("name", "known"), [*((name, True) for name in GENOTYPES), ("shared", False), ("dead", False)]
)
def test_every_kind_of_genotype_draws(name, known, tmp_path):
    arguments = groups(GENOTYPES[name]) if known else ()
    path = draw_blocks(GENOTYPES[name], tmp_path / "a.png", *arguments, title=name)
    pixels = imread(path) if name == "full" else picture(path)
    assert pixels.shape[1] <= 1441


def test_a_genotype_of_the_space_is_drawn_as_blocks_with_its_graph_beside(tmp_path):
    path = plots.draw_genotype(SHARED, tmp_path / "a.png", None, *groups(SHARED))
    assert path.read_bytes() == draw_blocks(SHARED, tmp_path / "b.png", *groups(SHARED)).read_bytes()
    assert path.with_suffix(".dot").read_text(encoding="utf-8") == plots.to_dot(SHARED)


def test_live_connections_have_the_colour_of_what_they_feed_and_pruned_ones_are_faint(drawn):
    ax, reduce_1, reduce_2 = drawn(SHARED, *groups(SHARED))
    assert lines(ax, FAMILIES["separable"]) == 3  # into 2, and twice into 5
    assert lines(ax, FAMILIES["pooling"]) == 4  # into 3, and three times into 16
    assert lines(ax, OUTPUT_LINE) == 2
    assert lines(ax, SHORTCUT) == 1
    # All 124, and 4 into the first level that are never scaled, less the 9 that are alive.
    assert lines(ax, DEAD_LINE) == 124 + 4 - 9
    assert [lines(one, SHORTCUT) for one in (reduce_1, reduce_2)] == [0, 0]
    assert [lines(one, DEAD_LINE) for one in (reduce_1, reduce_2)] == [0, 2]


def test_operations_are_all_named_the_dead_ones_faintly(drawn):
    ax, *_ = drawn(SHARED, *groups(SHARED))
    assert labels(ax, INK) == [
        "x",
        f"sep 5{TIMES}5",
        f"max 3{TIMES}3",
        f"sep 3{TIMES}3",
        f"avg 3{TIMES}3",
        "output",
    ]
    assert len(labels(ax, DEAD_TEXT)) == 12 and "" not in labels(ax, DEAD_TEXT)
    ax, *_ = drawn(SHARED)
    assert len(labels(ax, INK)) == 6 and labels(ax, DEAD_TEXT) == []
    assert lines(ax, DEAD_LINE) == 0


def test_levels_stand_in_columns(drawn):
    ax, *_ = drawn(SHARED, *groups(SHARED))
    columns = sorted({round(text.get_position()[0]) for text in ax.texts if text.get_gid() == "label"})
    assert len(columns) == 6
    places = {
        text.get_position()[0] for text in ax.texts if text.get_text() in (f"sep 5{TIMES}5", f"max 3{TIMES}3")
    }
    assert len(places) == 4
    (avg,) = (t for t in ax.texts if t.get_text() == f"avg 3{TIMES}3" and t.get_color() == INK)
    assert round(avg.get_position()[0]) == columns[4]


def test_the_caption_counts(drawn):
    ax, _, reduce_2 = drawn(SHARED, *groups(SHARED))
    assert "4 of 16 operations, 7 of 124 connections" in [text.get_text() for text in ax.texts]
    assert "1 of 2 operations, 1 of 2 connections" in [text.get_text() for text in reduce_2.texts]
    with_first = BlockLayout(4, NAMES, first_factors=True)
    ax, *_ = drawn(SHARED, *groups(SHARED, with_first))
    assert "4 of 16 operations, 9 of 128 connections" in [text.get_text() for text in ax.texts]
    assert len(labels(ax, DEAD_TEXT)) == 12
    (ax,) = drawn(GENOTYPES["nothing but dead"], *groups(GENOTYPES["nothing but dead"]))
    assert any("the shortcut alone" in text.get_text() for text in ax.texts)


def test_blocks_that_are_alike_share_a_picture(drawn):
    cells = {f"block_{n:02}": DEAD if n in (2, 3, 4, 7) else SHARED["block"] for n in range(1, 9)}
    axes = drawn(Genotype("dso", cells | {"reduce_1": BOTH, "reduce_2": BOTH}))
    headings = [ax.texts[-2].get_text() for ax in axes]
    assert headings == ["block 01, 05, 06, 08", "block 02\u201304, 07", "reduce 1, 2"]


@pytest.mark.parametrize("name", ["shared", "whole", "dead"])
def test_no_text_covers_another_and_no_live_line_passes_behind_an_operation(name, drawn):
    for ax in drawn(GENOTYPES[name], *groups(GENOTYPES[name])):
        extents = {text: text.get_window_extent() for text in ax.texts}
        for (one, a), (two, b) in itertools.combinations(extents.items(), 2):
            assert not a.overlaps(b), f"{one.get_text()} covers {two.get_text()}"
        boxes = [
            patch.get_window_extent().padded(-1) for patch in ax.patches if isinstance(patch, FancyBboxPatch)
        ]
        assert all(ax.figure.bbox.contains(box.x0, box.y0) for box in boxes)
        for line in (patch for patch in ax.patches if isinstance(patch, PathPatch)):
            if to_hex(line.get_edgecolor()) == to_hex(SHORTCUT):
                continue
            ways = line.get_transform().transform_path(line.get_path()).cleaned(curves=False)
            corners = ways.vertices[:-1]
            points = np.concatenate([corners, (corners[1:] + corners[:-1]) / 2])
            assert not any(box.contains(*point) for box in boxes for point in points)


def test_a_group_that_does_not_fit_is_refused():
    genotype = parse("DSO(block:2[1=a(0)]>1)")
    for edges, operations in [(((0, 5),), (("a",),)), (((0, 1),), ()), (((0, 1), (0, 2)), (("a",),))]:
        with pytest.raises(ConfigError, match="figure: block"):
            draw_blocks(genotype, "never.png", {"block": edges}, {"block": operations})


# --- a sparse search ---

ROW = {"alive": 1.0, "macs_alive": 4e8, "architecture_accuracy": 0.3, "seconds": 61.5}


@pytest.mark.parametrize(
    ("rows", "panels"),
    [
        ([{"epoch": epoch, **ROW, "alive": 1 / (1 + epoch)} for epoch in range(40)], 4),
        ([{"epoch": "0", "alive": "1.0", "seconds": ""}, {"epoch": "1", "alive": "nan", "seconds": "3"}], 2),
        ([{"alive": 0.0}, {"alive": None}, {}], 1),
        ([{"epoch": 3, **ROW, "seconds": math.nan, "unknown": 1}], 3),
    ],
    ids=["whole", "text with gaps", "nothing alive", "one epoch"],
)
def test_a_sparse_search_has_a_panel_for_what_was_recorded(rows, panels, tmp_path):
    pixels = picture(draw_sparsity(rows, tmp_path / "a.png"))
    assert pixels.shape[0] == 40 + 150 * panels
    picture(draw_sparsity(rows, tmp_path / "b.png"))


@pytest.mark.parametrize("rows", [[], [{"epoch": 0, "alive": ""}], [{"alive": "most"}]])
def test_a_search_without_numbers_is_refused(rows, tmp_path):
    with pytest.raises(ConfigError, match="figure"):
        draw_sparsity(rows, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
