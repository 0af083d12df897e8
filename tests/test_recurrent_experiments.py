"""DARTS on text: the rows compose to what they say, and the reduced pipeline records what was run."""

import csv
import io
import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from experiments import pipeline
from experiments.darts_rnn import recurrent
from experiments.darts_rnn.figures import draw_all
from experiments.darts_rnn.record import (
    DRNAS,
    FOUND,
    LONG,
    LSTM,
    RANDOM,
    SEARCHED,
    TRANSFER,
    WARMUP,
    collect,
    report,
    rows_of,
)
from experiments.records import as_csv, read_summary
from nas.domains.networks import cost_of
from nas.genotype import load
from nas.running.config import CONF, instantiate, register_resolvers

CELL = load("DARTS_V2", "darts_rnn")


@pytest.fixture
def composed():
    """`composed("search", "experiment=...")` -> config."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda root, *overrides: compose(root, list(overrides))
    GlobalHydra.instance().clear()


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_search(folder: Path, drawn: bool = False) -> None:
    """A finished search's folder with two epochs, or a draw's."""
    folder.mkdir(parents=True)
    (folder / "genotype.json").write_text(CELL.to_json())
    summary = {"status": "finished", "seconds": 120, "epochs": 2, "steps": 20, "git_commit": "abc"}
    (folder / "summary.json").write_text(json.dumps(summary))
    rows = [{"epoch": e, "weight_loss": 7 - e, "weight_perplexity": 900 - e} for e in range(2)]
    write_csv(folder / "metrics.csv", [{"epoch": 0, "num_skip": 0}] if drawn else rows)


def write_evaluation(folder: Path, test: float, status: str = "finished", best: int = 1) -> None:
    """An evaluation of three epochs, the best of which is 20 above `test` on the validation text."""
    folder.mkdir(parents=True)
    summary = {"status": status, "seconds": 60, "epochs": 3, "steps": 30, "params": 2000}
    tested = {"test_perplexity": test} if status == "finished" else {}
    (folder / "summary.json").write_text(json.dumps(summary | tested))
    rows = [{"epoch": e, "valid_perplexity": test + 20 + abs(e - best)} for e in range(3)]
    write_csv(folder / "metrics.csv", rows)


def network(folder: Path, name: str, seed: int, test: float, **given):
    path = folder / name / f"seed{seed}"
    if name != LSTM:
        write_search(path / "search", drawn=name == RANDOM)
    write_evaluation(path / SEARCHED, test, **given)
    if name in (FOUND, RANDOM, LSTM):
        write_evaluation(path / TRANSFER, test / 2)
    return collect(name, seed, path)


@pytest.mark.parametrize(
    ("row", "method", "virtual_clip"),
    [("ptb_search", "darts1_rnn", None), ("ptb_search_second_order", "darts2_rnn", 0.25)],
)
def test_the_searches_are_those_of_the_paper(row, method, virtual_clip, composed):
    config = composed("search", f"experiment=darts/{row}")
    assert (config.space.name, config.dataset.name) == ("darts_rnn", "ptb")
    assert (config.method.name, config.method.virtual_clip) == (method, virtual_clip)
    assert (config.dataset.batch_size, config.trainer.max_epochs, config.space.hidden_size) == (256, 50, 300)
    # The architecture learns from the validation text.
    assert config.dataset.split == "valid"


@pytest.mark.parametrize(
    ("row", "units", "dropout_hidden", "params"),
    [("evaluate_ptb", 850, 0.25, 23e6), ("evaluate_wikitext2", 700, 0.15, 33e6)],
)
def test_the_evaluations_have_the_papers_sizes(row, units, dropout_hidden, params, composed):
    config = composed("evaluate", f"experiment=darts/{row}")
    assert (config.recipe.hidden_size, config.recipe.dropout_hidden) == (units, dropout_hidden)
    assert (config.dataset.batch_size, config.dataset.test_batch_size) == (64, 1)
    space = instantiate(config.space)
    assert cost_of(config, space, load(config.genotype, "darts_rnn")).params == pytest.approx(
        params, rel=0.01
    )
    # The header says of what size an LSTM is equal.
    text = (CONF / f"experiment/darts/{row}.yaml").read_text()
    size = int(text.partition("genotype=LSTM recipe.hidden_size=")[2].partition(".")[0])
    prices = {}
    for config.recipe.hidden_size in (units, size, size + 1):
        genotype = load("LSTM" if config.recipe.hidden_size != units else "DARTS_V2", "darts_rnn")
        prices[config.recipe.hidden_size] = cost_of(config, space, genotype).params
    assert prices[size] <= prices[units] < prices[size + 1]


def test_a_selection_leaves_the_test_text_alone(composed):
    config = composed("evaluate", "experiment=darts/select_ptb", "genotype=DARTS_V1")
    assert config.test is False and config.trainer.max_epochs == 300


def test_what_was_searched_small_is_evaluated_small(composed):
    search = composed("search", "experiment=darts/wikitext_reduced")
    evaluation = composed("evaluate", "experiment=darts/evaluate_wikitext_reduced")
    for key in ("fraction", "batch_size"):
        assert evaluation.dataset[key] == search.dataset[key]
    for key in ("dropout_input", "dropout_hidden", "dropout_x", "dropout_output", "hidden_size"):
        assert evaluation.recipe[key] == search.space[key]
    assert search.recipe.hidden_size == search.space.hidden_size


@pytest.mark.parametrize(
    ("arm", "method", "warmup_epochs", "epochs"),
    [
        (FOUND, "darts1_rnn", 0, 6),
        (WARMUP, "darts1_rnn", 3, 9),
        (DRNAS, "drnas_rnn", 0, 6),
        (LONG, "darts1_rnn", 0, 18),
    ],
)
def test_the_arms_differ_in_one_thing(arm, method, warmup_epochs, epochs, tmp_path, composed):
    words = ["--folder", str(tmp_path), "--seeds", "3", "--arms", arm, arm]
    chain, drawn = recurrent.plan(recurrent.parse(words))
    assert (chain.place, drawn.place) == ((arm,), (RANDOM,))
    assert chain.folder == tmp_path / arm / "seed3"
    config = composed("search", *chain.search)
    assert (config.method.name, config.method.warmup_epochs) == (method, warmup_epochs)
    assert (config.trainer.max_epochs, config.dataset.name, config.seed) == (epochs, "wikitext_mini", 3)
    assert set(chain.evaluations) == ({SEARCHED, TRANSFER} if arm == FOUND else {SEARCHED})
    # What the user says holds for every search.
    (chain, _) = recurrent.plan(recurrent.parse([*words, "--", "trainer.max_epochs=4"]))
    assert composed("search", *chain.search).trainer.max_epochs == 4
    with pytest.raises(SystemExit):
        recurrent.parse([*words, "nonsense"])


@pytest.mark.parametrize("units", [1, 64])
def test_an_lstm_has_as_many_parameters_as_the_cells_network_but_no_more(units, tmp_path, composed):
    config = composed("evaluate", "experiment=darts/evaluate_wikitext_reduced", f"recipe.hidden_size={units}")
    kept = {key: config[key] for key in ("space", "dataset", "recipe")}
    kept["dataset"] = {"source": config.dataset.source, "root": None}
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(kept)))
    (tmp_path / "genotype.json").write_text(CELL.to_json())
    size = recurrent.lstm_size(tmp_path)
    space, prices = instantiate(config.space), {}
    for config.recipe.hidden_size in (size, size + 1):
        prices[config.recipe.hidden_size] = cost_of(config, space, load("LSTM", "darts_rnn")).params
    config.recipe.hidden_size = units
    assert prices[size] <= cost_of(config, space, CELL).params < prices[size + 1]


def test_the_record_compares_found_with_random_and_lstm(tmp_path):
    runs = [network(tmp_path, FOUND, seed, 300.0 + 20 * seed) for seed in range(3)]
    runs += [network(tmp_path, RANDOM, seed, 330.0 + 10 * seed) for seed in range(3)]
    runs.append(network(tmp_path, LSTM, 0, 310.0))
    runs.append(network(tmp_path, LSTM, 1, 0.0, status="stopped"))
    text = report(runs, planned=18)
    assert "15 of 18 evaluations finished" in text
    cells = "| 2.00 +- 0.00 (n = 3) | 30 | 1.00 +- 0.00 (n = 3) | 2.00 +- 0.00 (n = 3) | 20 |"
    assert f"| cell found | 340.00 +- 20.00 (n = 3) | 320.00 +- 20.00 (n = 3) {cells}" in text
    # 320 and 340 on average; variances 400 and 100, of three each. A draw is no search.
    assert "| cell found | random cell | -20.00 (s.e. 12.91) | 3 and 3 | 340.00 | 330.00 |" in text
    assert "| cell found | LSTM | +10.00 | 3 and 1 | 340.00 | 310.00 |" in text
    assert "- commit: abc" in text and "0.5 hours" in text
    rows = list(csv.DictReader(io.StringIO(as_csv(rows_of(runs)))))
    assert len(rows) == 2 * len(runs)
    last = {(row["network"], row["seed"], row["text"]): row for row in rows}[LSTM, "1", SEARCHED]
    # Its best epoch is the second.
    assert (last["evaluation"], last["valid_perplexity"], last["test_perplexity"]) == ("stopped", "20.0", "")
    assert collect(FOUND, 4, tmp_path / "nothing") is None


def test_the_pictures_of_searches_evaluations_tests_and_cells(tmp_path):
    runs = [network(tmp_path, name, 0, 300.0) for name in (FOUND, RANDOM, LSTM)]
    names = {path.name for path in draw_all(runs, tmp_path / "pictures")}
    assert names == {path.name for path in (tmp_path / "pictures").glob("*.png")}
    assert names == {"search.png", "valid.png", "test.png", "cell_seed0.png"}


def test_further_searches_are_recorded_beside_the_others(tmp_path):
    tests = {FOUND: 300.0, WARMUP: 290.0, DRNAS: 280.0, RANDOM: 295.0}
    runs = [network(tmp_path, name, 0, test) for name, test in tests.items()]
    text = report(runs, planned=6)
    assert "6 of 6 evaluations finished" in text
    for line in ("found after warm-up | cell found | -10.00", "found by DrNAS | random cell | -15.00"):
        assert f"| {line} | 1 and 1 |" in text
    assert "found in longer search" not in text
    names = {path.name for path in draw_all(runs, tmp_path / "pictures")}
    assert {"cell_seed0.png", "cell_warmup_seed0.png", "cell_drnas_seed0.png"} <= names


def test_the_pipeline_runs_nothing_twice_and_lstms_last(tmp_path, monkeypatch, capsys):
    started = []

    def step(command, folder, overrides):
        if read_summary(folder):
            return read_summary(folder)
        started.append((command, folder.relative_to(tmp_path).as_posix(), list(overrides)))
        if "nonsense" in overrides:
            raise SystemExit(f"{folder}: refused")
        if command == "search":
            write_search(folder, RANDOM in folder.parts)
        else:
            write_evaluation(folder, 300.0)
        return read_summary(folder)

    monkeypatch.setattr(pipeline, "run_step", step)
    monkeypatch.setattr(recurrent, "lstm_size", lambda folder: 9 if folder.name == SEARCHED else 5)
    words = ["--folder", str(tmp_path), "--seeds", "0", "1", "--data", "texts"]
    words += ["--evaluation", "recipe.epochs=7", "--transfer", "recipe.epochs=8"]
    recurrent.main([*words, "--", "method.clip=0.5", "trainer.max_epochs=6"])
    assert "12 of 12 evaluations finished" in capsys.readouterr().out
    by_folder = {folder: set(overrides) for _, folder, overrides in started}
    assert len(by_folder) == len(started) == 2 * (3 + 3 + 2)
    assert [folder.split("/")[0] for _, folder, _ in started[-4:]] == [LSTM] * 4
    assert {"method.clip=0.5", "trainer.max_epochs=6", "seed=1"} <= by_folder["found/seed1/search"]
    drawn = by_folder["random/seed1/search"]
    assert {"method=random", "seed=1"} <= drawn and "method.clip=0.5" not in drawn
    equal = by_folder[f"lstm/seed0/{SEARCHED}"]
    assert {"genotype=LSTM", "recipe.hidden_size=9", "recipe.epochs=7"} <= equal
    assert {"recipe.hidden_size=5", "recipe.epochs=8"} <= by_folder[f"lstm/seed0/{TRANSFER}"]
    # The other text is a folder of the user's, that of the search comes with the project.
    roots = {name: any("dataset.root=" in word for word in words) for name, words in by_folder.items()}
    assert all(roots[name] == name.endswith(TRANSFER) for name in roots)
    before = len(started)
    recurrent.main([*words, "--record-only"])
    recurrent.main(words)
    assert len(started) == before
    # A search that cannot begin costs no other, and there is no LSTM without what it is equal to.
    other = ["--folder", str(tmp_path / "other"), "--seeds", "0", "--", "nonsense"]
    with pytest.raises(SystemExit, match="no run has finished"):
        recurrent.main(other)
    assert len(started) == before + 2


def test_what_an_earlier_command_searched_is_recorded_too(tmp_path, capsys):
    network(tmp_path, FOUND, 0, 300.0)
    network(tmp_path, WARMUP, 0, 290.0)
    recurrent.main(["--folder", str(tmp_path), "--seeds", "0", "--record-only"])
    out = capsys.readouterr().out
    # Both texts of found, random and LSTM, one of the search that was not named.
    assert "3 of 7 evaluations finished" in out and "found after warm-up" in out


def test_searches_draws_and_evaluations_of_the_reduced_protocol(tmp_path, run, monkeypatch):
    """As the pipeline does it, on the text that comes with the project, in this process."""

    def step(command, folder, overrides):
        done = run(command, f"hydra.run.dir={folder}", *overrides)
        assert (done.status, done.err) == (0, "")
        return read_summary(folder)

    monkeypatch.setattr(pipeline, "run_step", step)
    # Longer pieces of so few columns diverge at the rate of 20.
    tiny = ["dataset.fraction=0.05", "trainer.limit_train_batches=2", "dataset.bptt.steps=10"]
    tiny += ["trainer.limit_val_batches=1", "dataset.batch_size=4", "dataset=wikitext_mini"]
    evaluation = [*tiny, "trainer.limit_test_batches=1", "recipe.epochs=2", "recipe.hidden_size=4"]
    words = ["--folder", str(tmp_path), "--seeds", "0", "--no-transfer", "--evaluation", *evaluation]
    words += ["--", *tiny, "trainer.max_epochs=2", "space.hidden_size=4", "space.num_nodes=2"]
    words[:0] = ["--arms", FOUND, DRNAS]
    for chain in recurrent.plan(recurrent.parse(words)):
        chain.run()
    (last,) = recurrent.plan_lstm(recurrent.parse(words))
    last.run()
    runs = {name: collect(name, 0, tmp_path / name / "seed0") for name in (FOUND, RANDOM, LSTM)}
    other = collect(DRNAS, 0, tmp_path / DRNAS / "seed0")
    assert other.search.get("method") == "drnas_rnn" and other.evaluations[SEARCHED].finished
    assert (
        len(runs[FOUND].search.rows) == len(other.search.rows) == 2
        and not runs[RANDOM].search.trained
        and runs[LSTM].genotype is None
    )
    cell, drawn, lstm = (run.evaluations[SEARCHED] for run in runs.values())
    assert all(one.finished and one.test > 1 and one.get("steps") == 4 for one in (cell, drawn, lstm))
    assert lstm.get("params") <= cell.get("params") == drawn.get("params")
    # The size that the search priced is that of its own recipe.
    assert runs[FOUND].search.get("params") == cell.get("params")
