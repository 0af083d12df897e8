"""A sweep whose jobs Optuna chooses: what it learns from each, what it leaves behind, what is refused."""

import csv
import importlib.util
import json
import shutil

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf, read_write

from nas.errors import ConfigError
from nas.running.config import CONF, register_resolvers
from nas.running.multirun import check_sweeper, objective_values
from tests.commands.stand_in import summary

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None,
    reason="hydra-optuna-sweeper is not installed (pip install 'nas-framework[sweeps]')",
)


@pytest.fixture
def tune(run, tiny, tmp_path):
    """`tune("method.lam=...") -> Done`: a sweep by Optuna into `tmp_path / "sweep"`."""

    def call(*overrides):
        return run(
            "search", "-m", "hydra/sweeper=tune", *tiny, *overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}"
        )

    return call


def trials(folder):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.load_study("nas", f"sqlite:///{folder / 'optuna.db'}").trials


def test_a_search_for_the_weight_of_the_anchor(tune, tmp_path):
    words = ("method=drnas", "method.warmup_epochs=0", "sweep=tune_lambda", "hydra.sweeper.n_trials=3")
    done = tune(*words)
    folder = tmp_path / "sweep"
    assert done.status == 0, done.err
    found = [summary(folder / str(job))["architecture_accuracy"] for job in range(3)]
    assert [trial.value for trial in trials(folder)] == found
    assert all(1e-5 <= trial.params["method.lam"] <= 1 for trial in trials(folder))
    best = OmegaConf.load(folder / "optimization_results.yaml")
    assert best.best_value == max(found)
    assert f"best:  method.lam={best.best_params['method.lam']} ({max(found):.6g})" in done.out
    with (folder / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["method.lam"]) for row in rows] == [t.params["method.lam"] for t in trials(folder)]
    assert (folder / "figures/sweep.png").exists()
    assert OmegaConf.load(folder / "multirun.yaml").hydra.sweeper.n_trials == 3
    # Going on there would mix two studies' jobs.
    again = tune(*words)
    assert again.status == 2
    assert f"hydra.sweeper.storage=sqlite:///{folder / 'optuna.db'}" in again.err


def test_a_failed_job_is_a_failed_trial_and_the_seed_repeats_the_choices(beside, tmp_path):
    seeds = [13, 14, 5, 2]
    words = (
        "hydra/launcher=workers",
        "hydra/sweeper=tune",
        f"seed={','.join(map(str, seeds))}",
        "hydra.callbacks.sweep.objective=num_skip",
        "hydra.sweeper.direction=maximize",
        "hydra/sweeper/sampler=seeded_random",
        "hydra.sweeper.n_trials=5",
    )
    process = beside(*words)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    import optuna

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler)
    choices = optuna.distributions.CategoricalDistribution(seeds)
    expected = [study.ask({"seed": choices}).params["seed"] for _ in range(5)]
    found = trials(tmp_path / "sweep")
    assert [trial.params["seed"] for trial in found] == expected
    assert [trial.value for trial in found] == [None if seed > 12 else seed for seed in expected]
    assert {trial.state.name for trial in found} == {"FAIL", "COMPLETE"}
    assert f"best:  seed={max(seed for seed in expected if seed < 13)} " in out
    assert f"{sum(seed > 12 for seed in expected)} of 5 runs did not finish" in out


def test_a_study_of_which_every_job_failed_ends_with_its_table(tune):
    done = tune("method=random", "seed=-1", "recipe.init_channels=2,4", "hydra.sweeper.n_trials=1")
    assert done.status == 2
    assert "1 of 1 runs did not finish" in done.out
    assert "error: no job finished, so there is no best one" in done.err


@pytest.mark.parametrize(
    ("command", "space", "objective", "figures"),
    [
        ("search", "darts", None, 0.5),
        ("search", "darts_rnn", None, 300.0),
        ("evaluate", "darts", None, None),
        ("evaluate", "darts", "table_accuracy", 91.0),
        ("search", "darts", ["params", "seconds"], [7.0, 1.5]),
        ("search", "darts", ["params", "test_accuracy"], None),
    ],
)
def test_a_sweeper_learns_what_is_named_or_what_no_test_set_has_seen(
    tmp_path, capsys, command, space, objective, figures
):
    reached = {"architecture_accuracy": 0.5, "architecture_perplexity": 300.0, "params": 7, "seconds": 1.5}
    table = {"metric": "cifar10_test", "cifar10_test": 91.0}
    write = (tmp_path / "summary.json").write_text
    write(json.dumps(reached | {"status": "finished", "table": table, "test_accuracy": None}))
    config = OmegaConf.create({"command": command, "space": OmegaConf.load(CONF / f"space/{space}.yaml")})
    assert objective_values(config, objective, tmp_path) == figures
    assert ("so no result for the sweeper; there are" in capsys.readouterr().out) == (figures is None)
    write(json.dumps(reached | {"status": "stopped"}))
    assert objective_values(config, objective, tmp_path) is None


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["hydra.sweeper.direction=minimize"],
            "hydra.sweeper.direction=minimize: the better architecture_acc",
        ),
        (["hydra.sweeper.direction=up"], "must be maximize or minimize"),
        (["hydra.sweeper.direction=[maximize,minimize]"], "must be one for each"),
        (
            ["hydra.callbacks.sweep.objective=valid_loss", "hydra.sweeper.direction=maximize"],
            "the better valid_loss (minimize it) would be avoided",
        ),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be a whole number"),
        (["hydra.sweeper.n_jobs=-1"], "hydra.sweeper.n_jobs=-1: must be a whole number"),
    ],
)
def test_what_optuna_cannot_work_with_is_told_before_the_first_job(tune, tmp_path, overrides, words):
    done = tune("method=random", "seed=0,1", *overrides)
    assert done.status == 2
    assert words in done.err
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("space", "objective", "direction"),
    [
        ("darts", None, "maximize"),
        ("darts_rnn", None, "minimize"),
        ("darts", ["architecture_loss", "architecture_accuracy"], ["minimize", "maximize"]),
    ],
)
@pytest.mark.parametrize("sweeper", ["tune", "optuna"])
def test_the_better_end_of_a_figure_is_the_direction_unless_one_is_typed(
    sweeper, space, objective, direction, tmp_path
):
    """The plugin's own file, `optuna`, minimises whatever there is."""
    register_resolvers()
    GlobalHydra.instance().clear()
    words = [f"hydra/sweeper={sweeper}", f"space={space}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("search", words, return_hydra_config=True)
    check_sweeper(config, objective)
    assert config.hydra.sweeper.direction == direction
    shutil.rmtree(tmp_path / "sweep")
    with read_write(config.hydra):
        config.hydra.sweeper.direction = None
    with pytest.raises(ConfigError, match="it is not known which num_skip is better"):
        check_sweeper(config, "num_skip")
