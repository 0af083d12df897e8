"""A saved workspace of Weights & Biases over what `logger=wandb` sends: the panels, and how they are sent."""

import importlib.util
from collections.abc import Sequence
from typing import Any

from nas.errors import ConfigError, installation, require

PACKAGE = "wandb_workspaces"
METHOD = "method.name"
# Runs that one panel shows, by its own default 10.
RUNS = 100


def check_package() -> None:
    """Raises `ConfigError` with the command that installs it where the package of workspaces is missing."""
    require(
        importlib.util.find_spec(PACKAGE) is not None,
        f"nas.dashboard: wandb-workspaces is not installed; {installation('dashboard')}",
    )


def build_workspace(project: str, entity: str | None, name: str, parallel: Sequence[str]) -> Any:
    """A workspace, not sent yet.

    Args:
        project: of the runs.
        entity: user or team; None where it is not known, and nothing is sent.
        name: of the workspace.
        parallel: keys of the configuration that are axes of the parallel coordinates.

    Raises:
        ConfigError: the package does not take a name.
    """
    # It takes a second to import, and is an extra.
    import wandb_workspaces.workspaces as workspaces
    from wandb_workspaces.expr import Config

    sections = _sections(parallel)
    try:
        return workspaces.Workspace(
            entity=entity or "",
            project=project,
            name=name,
            sections=[
                workspaces.Section(name=title, panels=panels, is_open=True, layout_settings=_layout(panels))
                for title, panels in sections.items()
            ],
            settings=workspaces.WorkspaceSettings(x_axis="epoch", max_runs=RUNS),
            runset_settings=workspaces.RunsetSettings(groupby=[Config(METHOD)]),
        )
    except ValueError as error:
        raise ConfigError(f"name={name}: {' '.join(str(error).split())}") from error


def wire(workspace: Any) -> dict[str, Any]:
    """What would be sent for a workspace, as plain containers."""
    sent: dict[str, Any] = workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return sent


def send(workspace: Any) -> str:
    """Saves a workspace at wandb; its address.

    Raises:
        RuntimeError: wandb did not take it.
    """
    try:
        return str(workspace.save().url)
    except Exception as error:
        raise RuntimeError(f"wandb did not take the workspace ({' '.join(str(error).split())})") from error


def _layout(panels: Sequence[Any]) -> Any:
    import wandb_workspaces.workspaces as workspaces

    columns = min(3, len(panels))
    return workspaces.SectionLayoutSettings(columns=columns, rows=-(-len(panels) // columns))


def _sections(parallel: Sequence[str]) -> dict[str, list[Any]]:
    """The panels, section by section."""
    from wandb_workspaces.reports.v2 import interface as panels

    def by_method(title: str, metric: str, **more: Any) -> Any:
        return panels.LinePlot(
            title=f"{title}: mean of a method and its deviation over seeds",
            x="epoch",
            y=[metric],
            groupby=panels.Config(METHOD),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=RUNS,
            **more,
        )

    def by_seed(title: str, metric: str) -> Any:
        return panels.LinePlot(
            title=f"{title}: every run",
            x="epoch",
            y=[metric],
            aggregate=False,
            legend_fields=["config:method.value.name", "config:seed.value"],
            legend_template="${config:method.value.name} seed ${config:seed.value}",
            max_runs_to_show=RUNS,
        )

    def bars(title: str, metric: str) -> Any:
        return panels.BarPlot(
            title=title,
            metrics=[panels.SummaryMetric(metric)],
            groupby=panels.Config(METHOD),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=RUNS,
        )

    axes: list[Any] = [panels.Config(METHOD), *map(panels.Config, parallel)]
    ends = ["architecture_accuracy", "num_skip", "hessian_eigenvalue", "table_accuracy"]
    columns = [panels.ParallelCoordinatesPlotColumn(metric=axis) for axis in axes]
    columns += [panels.ParallelCoordinatesPlotColumn(metric=panels.SummaryMetric(end)) for end in ends]

    def cells(title: str, key: str) -> Any:
        return panels.MediaBrowser(
            title=title, media_keys=[key], mode="grid", grid_x_axis="run", grid_y_axis="step", num_columns=4
        )

    return {
        "Accuracy in the table": [
            by_method("table accuracy", "table_accuracy"),
            by_seed("table accuracy", "table_accuracy"),
            bars("table accuracy at the end", "table_accuracy"),
        ],
        "By method and seed": [
            by_method("architecture accuracy", "architecture_accuracy"),
            by_seed("architecture accuracy", "architecture_accuracy"),
            by_method("architecture loss", "architecture_loss"),
            by_method("weight loss", "weight_loss"),
            by_method("skip connections", "num_skip"),
        ],
        "Curvature": [
            by_method("dominant eigenvalue", "hessian_eigenvalue", log_y=True),
            by_seed("dominant eigenvalue", "hessian_eigenvalue"),
        ],
        "Settings": [panels.ParallelCoordinatesPlot(title="settings and ends", columns=columns)],
        "Cells": [
            cells("cells, epoch by epoch", "epochs/genotype"),
            cells("op weights", "epochs/op_weights"),
        ],
        "Evaluations": [
            panels.LinePlot(
                title="validation accuracy", x="epoch", y=["valid_accuracy"], max_runs_to_show=RUNS
            ),
            panels.BarPlot(
                title="test accuracy", metrics=[panels.SummaryMetric("test_accuracy")], max_runs_to_show=RUNS
            ),
        ],
    }
