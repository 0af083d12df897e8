"""Dots of architectures: what has no place in a picture is left out and said."""

import math

import pytest

from nas.analysis.plots import scatter
from nas.errors import ConfigError


def test_what_is_not_finite_is_left_out_and_zeros_have_a_place(tmp_path, monkeypatch):
    drawn = {}

    def keep(figure, path, caption):
        ax = figure.axes[0]
        drawn.update(scale=ax.get_xscale(), label=ax.get_xlabel(), dots=len(ax.collections[0].get_offsets()))
        return path

    monkeypatch.setattr(scatter, "save", keep)

    def draw(x):
        scatter.draw_scatter(x, [90.0, 91.0, 92.0, None], tmp_path / "a.png", "synflow", "accuracy (%)")
        return drawn

    assert draw([0.0, 1e3, 1e7, 5.0]) == {
        "scale": "symlog", "dots": 3, "label": "synflow (1 not finite or not known)"
    }  # fmt: skip
    assert draw([1.0, 2.0, -math.inf, 5.0])["dots"] == 2 and drawn["scale"] == "linear"
    assert draw([math.nan] * 4)["dots"] == 0
    with pytest.raises(ConfigError, match="figure: 1 and 2 numbers"):
        scatter.draw_scatter([1.0], [1.0, 2.0], tmp_path / "a.png", "x", "y")
