"""`nas.dashboard`: what it would send, without a network."""

import importlib.util
import json
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from wandb_workspaces.workspaces import internal

from nas.analysis.metrics import OF_TASKS
from nas.analysis.tabular import Tabular
from nas.commands.dashboard import run as run_here
from nas.engine.loggers import log_architecture
from nas.engine.recording import SearchRecorder
from nas.engine.workspace import build_workspace, send, wire
from nas.errors import ConfigError
from nas.running.config import RunFailed


def panels_of(sent):
    """{section: its panels}."""
    sections = sent["spec"]["section"]["panelBankConfig"]["sections"]
    return {one["name"]: one["panels"] for one in sections}


def kinds(panels):
    return [one["viewType"] for one in panels]


@pytest.fixture
def sent():
    return wire(build_workspace("p", "team", "searches", ["method.lam", "seed"]))


def test_a_command_writes_what_it_would_send(run, tmp_path):
    file = tmp_path / "workspace.json"
    done = run("dashboard", "project=nas", "entity=team", "name=mine", f"output={file}")
    assert done.status == 0 and f"nothing sent; what would be: {file}" in done.out, done.err
    found = json.loads(file.read_text())
    assert (found["project"], found["entity"], found["displayName"]) == ("nas", "team", "mine")
    assert list(panels_of(found)) == [
        "Accuracy in the table", "By method and seed", "Curvature", "Settings", "Cells", "Evaluations",
    ]  # fmt: skip
    assert [one.name for one in tmp_path.iterdir()] == ["workspace.json"]


def test_panels_are_by_method_with_bands_and_by_seed(sent):
    runset = sent["spec"]["section"]["runSets"][0]
    assert runset["grouping"] == [{"section": "config", "name": "method.value.name"}]
    lines = [one["config"] for one in panels_of(sent)["By method and seed"]]
    grouped = [one for one in lines if "groupBy" in one]
    assert len(grouped) == 4
    assert {(one["groupBy"], one["groupAgg"], one["groupArea"]) for one in grouped} == {
        ("method.value.name", "mean", "stddev")
    }
    (each,) = (one for one in lines if "groupBy" not in one)
    assert not each["aggregate"] and "seed" in each["legendTemplate"]
    assert {one["xAxis"] for one in lines} == {"epoch"}


def test_lambda_is_an_axis_and_cells_stand_side_by_side(sent):
    (panel,) = panels_of(sent)["Settings"]
    axes = [one["accessor"] for one in panel["config"]["columns"]]
    assert kinds([panel]) == ["Parallel Coordinates Plot"]
    assert axes[:3] == ["config:method.value.name", "config:method.value.lam", "config:seed.value"]
    cells = panels_of(sent)["Cells"]
    assert kinds(cells) == ["Media Browser"] * 2
    assert all(one["config"]["gridSettings"] == {"xAxis": "run", "yAxis": "step"} for one in cells)


def test_every_figure_is_one_that_runs_send(sent, monkeypatch):
    """Columns of `metrics.csv`, what a table adds, and the pictures of an epoch."""
    table = Tabular(SimpleNamespace(), "cifar10_test")
    recorder = SimpleNamespace(metrics=OF_TASKS["images"])
    known = {*SearchRecorder.declared(recorder), *table.columns, "valid_accuracy", "test_accuracy"}
    pictures = []
    monkeypatch.setattr("nas.engine.loggers.draw_weights", lambda *_: None)
    monkeypatch.setattr("nas.engine.loggers.plots.draw_genotype", lambda *_, **__: None)
    monkeypatch.setattr(
        "nas.engine.loggers._log_pictures", lambda logger, found, step: pictures.extend(found)
    )
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=0))
    log_architecture(SimpleNamespace(logger=1, current_epoch=0, fit_loop=loop), None, None, None)
    shown = set()
    for panels in panels_of(sent).values():
        for panel in panels:
            shown |= {one.removeprefix("summary_metrics.") for one in panel["config"].get("metrics", [])}
            accessors = [one["accessor"] for one in panel["config"].get("columns", [])]
            shown |= {one.removeprefix("summary:") for one in accessors if one.startswith("summary:")}
            assert set(panel["config"].get("mediaKeys", [])) <= set(pictures)
    assert {"table_accuracy", "hessian_eigenvalue", "architecture_accuracy"} <= shown <= known


def test_what_is_saved_is_what_would_be_written(sent, monkeypatch):
    """Up to the names that the package draws for a new workspace and its panels."""
    taken = []

    def upsert(view):
        taken.append(view.model_dump(mode="json", by_alias=True, exclude_none=True))
        return {"upsertView": {"view": {"name": "nw-abc-v", "id": "1"}}}

    monkeypatch.setattr(internal, "upsert_view2", upsert)
    monkeypatch.setattr("wandb_workspaces.workspaces.interface.wandb.termlog", lambda *_: None)
    monkeypatch.setattr(
        "wandb_workspaces.workspaces.interface.get_app_url", lambda _: "https://wandb.example"
    )
    monkeypatch.setattr("wandb_workspaces.workspaces.interface.wandb.Api", lambda: None)
    where = send(build_workspace("p", "team", "searches", ["method.lam", "seed"]))
    assert where == "https://wandb.example/team/p?nw=abc"
    assert taken[0].pop("name").startswith("nw-") and sent.pop("name") == ""
    assert without_names(taken[0]) == without_names(sent)


def without_names(found):
    """What was sent without ids that are drawn."""
    if isinstance(found, dict):
        return {key: without_names(value) for key, value in found.items() if key not in ("__id__", "id")}
    return [without_names(one) for one in found] if isinstance(found, list) else found


def config(**changed):
    usual = {"project": "p", "entity": "team", "name": "n", "parallel": ["seed"], "output": None}
    return OmegaConf.create(usual | changed)


def test_what_wandb_does_not_take_fails_in_one_message(monkeypatch, tmp_path):
    def refuse(view):
        raise ValueError("permission\n denied")

    monkeypatch.setattr(internal, "upsert_view2", refuse)
    monkeypatch.setattr("nas.commands.dashboard.check_logger", lambda _: None)
    with pytest.raises(RunFailed, match=r"wandb did not take the workspace \(permission denied\)"):
        run_here(config(), tmp_path)


def test_a_missing_extra_says_what_installs_it(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "wandb_workspaces" else find(name)
    )
    with pytest.raises(ConfigError, match=r"not installed; pip install 'nas-framework\[dashboard\]'"):
        run_here(config(), tmp_path)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"project": ""}, "project=: must be a name"),
        ({"parallel": [""]}, "must be keys of a configuration"),
        ({"output": "{folder}/none/x.json"}, "there is no folder"),
        ({"output": "{folder}"}, "is a folder; a file"),
        ({"name": "\N{GRINNING FACE}", "output": "{folder}/x.json"}, "name=\N{GRINNING FACE}: "),
    ],
)
def test_bad_values_are_refused_and_nothing_is_written(changed, words, monkeypatch, tmp_path):
    monkeypatch.setattr("nas.commands.dashboard.check_logger", lambda _: None)
    filled = {k: v.format(folder=tmp_path) if isinstance(v, str) else v for k, v in changed.items()}
    with pytest.raises(ConfigError, match=words):
        run_here(config(**filled), tmp_path)
    assert not list(tmp_path.iterdir())
