"""Pictures of what was found and how: cells, op weights, training curves, comparisons.

Every function takes plain Python containers or arrays and writes one file; none needs torch, a display or a
global matplotlib setting.
"""

from nas.analysis.plots.cells import draw_genotype
from nas.analysis.plots.confusion import draw_confusion
from nas.analysis.plots.curves import draw_curves
from nas.analysis.plots.dot import to_dot
from nas.analysis.plots.evolution import draw_weight_evolution
from nas.analysis.plots.lines import draw_comparison, draw_lines
from nas.analysis.plots.weights import draw_op_weights

__all__ = [
    "draw_comparison",
    "draw_confusion",
    "draw_curves",
    "draw_genotype",
    "draw_lines",
    "draw_op_weights",
    "draw_weight_evolution",
    "to_dot",
]
