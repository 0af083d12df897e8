"""A protocol as a user starts it: what it runs, what it keeps, how it goes on, what it refuses.

Most runs here are stand-ins, which leave what a run leaves within a moment; some are forks that train.
"""

import csv
import json
import os
import re
import signal

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from nas.commands import protocol
from nas.running import started
from nas.running.config import CONF
from nas.running.declared import read_file
from tests.commands.test_bad_input import assert_refused
from tests.commands.test_launchers import needs_joblib, needs_submitit
from tests.conftest import command_line
from tests.forks import finish, launch

ROWS = sorted(
    str(path.relative_to(CONF / "experiment").with_suffix(""))
    for path in (CONF / "experiment").rglob("*.yaml")
    if read_file(path).get("made_for") == "protocol"
)
# Searches and trainings of a tiny space.
DIGITS = (
    "search.experiment=start/digits", "evaluate.experiment=start/evaluate_digits", "hardware.threads=1",
)[:2]  # fmt: skip
VALIDATES = ("select.experiment=start/evaluate_digits", "select.overrides=[random_cells=null]")


def rows(folder):
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture
def forked(monkeypatch, tmp_path):
    """The runs of a protocol are forks of a process that holds the imports."""
    with (tmp_path / "output").open("w") as output:
        monkeypatch.setattr(started, "Popen", lambda words, **_: launch(words, stdout=output, stderr=output))
        yield


class StandIn:
    """A run that ends at once: `ends` maps a step (`search/0`) to a status of its process, or to a signal."""

    def __init__(self, words, ends, begun):
        typed = dict(one.split("=", 1) for one in words[3:] if "=" in one)
        named = typed.get("resume") or typed["hydra.run.dir"]
        place = OverridesParser.create().parse_override(f"a={named}").value()
        self.folder, self.name = place, "/".join(place.split("/")[-2:])
        begun.append([self.name, *words[3:]])
        self.code = ends.get(self.name, 0)
        os.makedirs(place, exist_ok=True)
        if self.code == "lost":
            self.code = -9
            return
        self.write("config.yaml", "command: search\n")
        status = {0: "finished", 130: "stopped"}.get(self.code, "failed")
        figures = {"seconds": 36, "valid_accuracy": (self.number * 7 % 5) / 10}
        figures |= {"valid_loss": 1.0 + self.number, "valid_perplexity": 90.0 - self.number}
        if "evaluate/" in self.name:
            figures = {"seconds": 72, "test_accuracy": 0.9 + self.number / 100}
        if "search/" in self.name:
            looked_up = {"metric": "cifar10_test", "cifar10_test": 93.0 + self.number}
            looked_up["gap"] = 1.37 - self.number
            figures = {"seconds": 18, "init_channels": 20 + self.number, "table": looked_up}
        found = {"schema": 1, "status": status, "threads": 2}
        found |= figures if status == "finished" else {"error": "no luck"}
        self.write("summary.json", json.dumps(found))

    @property
    def number(self):
        return int(self.name.split("/")[1])

    def write(self, name, text):
        with open(f"{self.folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)

    def wait(self, timeout=None):
        if self.code == "terminated":
            os.kill(os.getpid(), signal.SIGTERM)
        return self.code

    def terminate(self):
        self.code = 130


@pytest.fixture
def stood_in(monkeypatch):
    """(ends, begun): how steps end, to be set by a test, and what was started so far."""
    ends, begun = {}, []
    monkeypatch.setattr(started, "Popen", lambda words, **_: StandIn(words, ends, begun))
    return ends, begun


def test_cells_are_compared_on_held_out_images_and_the_best_is_tested(run, forked, tmp_path):
    folder = tmp_path / "a"
    words = ("protocol=darts_random", "debug=fast", *DIGITS, *VALIDATES, f"hydra.run.dir={folder}")
    done = run("protocol", *words)
    assert done.status == 0, done.err
    found, table = summary(folder), rows(folder)
    phases = ("search", "select", "evaluate")
    assert [row["run"] for row in table] == [f"{one}/{n}" for one in phases for n in (0, 1)]
    best = max(table[2:4], key=lambda row: float(row["valid_accuracy"]))["of"]
    assert found["kept"] == [best] and found["best_of"] == 2 and found["selected_by"] == "valid_accuracy"
    assert {row["of"] for row in table[4:]} == {best} and [row["seed"] for row in table[4:]] == ["0", "1"]
    tested = [float(row["test_accuracy"]) for row in table[4:]]
    assert found["test_accuracy"] == pytest.approx(sum(tested) / 2) and found["n"] == 2
    # Nobody has looked at the test part before, and both halves of the rest are used.
    chosen = [OmegaConf.load(folder / f"select/{number}/config.yaml") for number in (0, 1)]
    assert [(one.test, one.dataset.valid, one.seed) for one in chosen] == [(False, 0.5, 0)] * 2
    assert not any("test_accuracy" in summary(folder / f"select/{number}") for number in (0, 1))
    assert found["cpu_hours"] == pytest.approx(sum(float(row["cpu_hours"]) for row in table), abs=1e-5)
    assert "the best of 2 by valid_accuracy, of 2 searches" in " ".join(done.out.split())
    assert "in all 2 searches and 4 trainings" in done.out
    assert "kept: the best of 2 cells by valid_accuracy after 1 epoch" in (folder / "table.md").read_text()


WORDS = "darts/evaluate_wikitext_reduced"
TRIED = {
    "rdarts": ("search.overrides=[space=nasbench201,method=rdarts_l2]", "search.seeds=1",
               "select.overrides=[space=nasbench201]", "evaluate.overrides=[space=nasbench201]"),
    "darts": ("search.experiment=darts/wikitext_reduced", f"select.experiment={WORDS}", "select.valid=null",
              f"evaluate.experiment={WORDS}"),
}  # fmt: skip


@pytest.mark.parametrize("protocol", TRIED)
def test_grids_and_texts_are_tried_in_a_minute(protocol, run, forked, tmp_path):
    folder = tmp_path / "a"
    done = run("protocol", f"protocol={protocol}", "debug=fast", *TRIED[protocol], f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    found = summary(folder)
    figures = (
        ("valid_perplexity", "test_perplexity")
        if protocol == "darts"
        else ("valid_accuracy", "test_accuracy")
    )
    assert found["selected_by"] == figures[0] and found[figures[1]] > 0 and found["best_of"] == 2
    chosen = {row["of"]: float(row[figures[0]]) for row in rows(folder) if row["phase"] == "select"}
    best = min if protocol == "darts" else max
    assert found["kept"] == [best(chosen, key=chosen.get)]


def test_the_example_of_the_page_runs(run, stood_in, tmp_path):
    text = (CONF.parent / "docs/protocol.md").read_text().replace("\\\n", " ")
    (words,) = re.findall(r"^```bash\npython -m nas\.protocol (.*?)\n```", text, re.MULTILINE)
    assert run("protocol", *words.split(), f"hydra.run.dir={tmp_path / 'a'}").status == 0
    assert len(stood_in[1]) == 3 + 3 + 2


def test_a_run_that_fails_costs_no_other_and_the_protocol_goes_on(run, stood_in, tmp_path):
    (ends, begun), folder = stood_in, tmp_path / "a"
    words = ("protocol=darts", "search.seeds=3", "evaluate.seeds=2", f"hydra.run.dir={folder}")
    ends |= {"search/0": 1, "search/1": "lost"}
    done = run("protocol", *words)
    assert done.status == 1 and [one[0] for one in begun] == ["search/0", "search/1", "search/2"]
    assert "2 of 3 searches did not finish\nsearch/0: no luck\nsearch/1: killed by signal 9" in done.err
    assert f"continue with: python -m nas.protocol resume={folder}" in done.err
    assert [row["status"] for row in rows(folder)] == ["failed", "lost", "finished"]
    ends.clear(), begun.clear()
    assert run("protocol", f"resume={folder}").status == 0
    # One that was begun is resumed, one that died before that begins anew, one that has finished is kept.
    assert begun[0] == ["search/0", f"resume={folder}/search/0"]
    assert begun[1] == ["search/1", "seed=1", "size=null", f"hydra.run.dir={folder}/search/1"]
    assert [one[0] for one in begun[2:]] == [f"select/{n}" for n in range(3)] + ["evaluate/0", "evaluate/1"]
    assert begun[2][1:] == [
        "test=false", "trainer.max_epochs=100", "dataset.valid=0.5", "seed=0", f"genotype={folder}/search/0",
        "size=null", f"hydra.run.dir={folder}/select/0",
    ]  # fmt: skip
    found = summary(folder)
    # 0.0, 0.2 (7 % 5 / 10), 0.4: the third.
    assert found["kept"] == ["search/2"] and found["best_of"] == 3
    assert found["test_accuracy"] == pytest.approx(0.905)
    assert found["test_accuracy_std"] == pytest.approx(0.5**0.5 / 100)
    assert found["cpu_hours"] == pytest.approx(2 * (3 * 18 + 3 * 36 + 2 * 72) / 3600)  # of two threads
    begun.clear()
    assert run("protocol", f"resume={folder}").status == 0 and not begun


def test_a_signal_stops_the_run_that_is_at_work_and_nothing_else_begins(run, stood_in, tmp_path):
    (ends, begun), folder = stood_in, tmp_path / "a"
    ends["search/1"] = "terminated"
    done = run("protocol", "protocol=direct", f"hydra.run.dir={folder}")
    assert done.status == 130 and [one[0] for one in begun] == ["search/0", "search/1"]
    assert f"stopped; continue with: python -m nas.protocol resume={folder}" in done.out
    assert summary(folder)["status"] == "stopped"


def test_of_a_grid_the_best_of_each_seed_is_kept(run, stood_in, tmp_path):
    folder = tmp_path / "a"
    done = run("protocol", "protocol=rdarts", "search.seeds=2", "evaluate.seeds=1", f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    table = rows(folder)
    weights = ["3e-4", "9e-4", "27e-4", "81e-4"] * 2
    assert [row["setting"].rpartition("=")[2] for row in table[:8]] == weights
    assert [row["seed"] for row in table[:8]] == ["1"] * 4 + ["2"] * 4
    # Of 0, 0.2, 0.4, 0.1 and of 0.3, 0, 0.2, 0.4.
    assert summary(folder)["kept"] == ["search/2", "search/7"] and summary(folder)["best_of"] == 4
    assert [row["of"] for row in table if row["phase"] == "evaluate"] == ["search/2", "search/7"]
    assert [row["kept"] for row in table[:8]] == [str(number in (2, 7)) for number in range(8)]
    assert "the best of 4 of each of 2 seeds by valid_accuracy" in " ".join(done.out.split())


def test_a_training_whose_loss_is_lost_is_not_chosen_and_costs_no_other(run, stood_in, tmp_path, monkeypatch):
    figures_of = protocol.figures_of
    lost = lambda found: {} if found.get("valid_accuracy") == 0.0 else figures_of(found)  # noqa: E731
    monkeypatch.setattr(protocol, "figures_of", lost)
    folder = tmp_path / "a"
    words = ("protocol=darts", "search.seeds=2", "evaluate.seeds=1", f"hydra.run.dir={folder}")
    assert run("protocol", *words).status == 0
    # The first has no figure.
    assert summary(folder)["kept"] == ["search/1"] and summary(folder)["best_of"] == 2
    monkeypatch.setattr(protocol, "figures_of", lambda found: {})
    assert_refused(run("protocol", f"resume={folder}"), "select.figure=valid_accuracy: select/0 has none")


def test_by_a_loss_the_least_is_kept_and_a_width_follows_its_search(run, stood_in, tmp_path):
    folder = tmp_path / "a"
    words = ("protocol=darts", "select.figure=valid_loss", "evaluate.width=true", "evaluate.seeds=1")
    assert run("protocol", *words, f"hydra.run.dir={folder}").status == 0
    assert summary(folder)["kept"] == ["search/0"]
    assert "recipe.init_channels=20" in stood_in[1][-1]


def test_what_is_looked_up_is_never_trained(run, stood_in, tmp_path):
    (tmp_path / "table.csv").write_text("arch,cifar10_test\n")
    folder = tmp_path / "a"
    done = run("protocol", "protocol=table", f"tabular.file={tmp_path}/table.csv", "search.seeds=2",
               "search.overrides=[space=nasbench201]", f"hydra.run.dir={folder}")  # fmt: skip
    assert done.status == 0, done.err
    assert [one[0] for one in stood_in[1]] == ["search/0", "search/1"]
    assert {"tabular=csv", f"tabular.file={tmp_path}/table.csv"} <= set(stood_in[1][0])
    found = summary(folder)
    assert (found["table_accuracy"], found["table_gap"], found["n"]) == (93.5, pytest.approx(0.87), 2)


def test_a_plan_prices_each_phase_and_leaves_nothing(run, tmp_path):
    words = ("protocol=darts", *DIGITS, *VALIDATES, "plan=true", f"hydra.run.dir={tmp_path / 'a'}")
    done = run("protocol", *words, "search.overrides=[method=random]")
    assert done.status == 0, done.err
    lines = [line.split("│")[1:-1] for line in done.out.splitlines() if line.startswith("│")]
    table = [[cell.strip() for cell in line[:4]] for line in lines if line[1].strip()]
    assert [row[:2] for row in table] == [
        ["searches", "4"], ["trainings for the", "4"], ["final trainings", "10"], ["in all", "18"],
    ]  # fmt: skip
    hours = [float(row[3]) for row in table]
    assert table[0][2] == "0.00" and sum(hours[:3]) == pytest.approx(hours[3], abs=0.02)
    assert not (tmp_path / "a").exists()


REFUSED = {
    ("search=null",): "search=null",
    ("select.among=none",): "select.among=none",
    ("search.seeds=0",): "search.seeds=0: must be a whole number from 1",
    ("search.seeds=20000",): "search.seeds=20000: with 1 settings must be at most 10,000 runs of a phase",
    ("evaluate.seeds=20000",): "evaluate.seeds=20000: with 1 cells must be at most 10,000 runs",
    ("search.seeds=1",): "select: there is one search, and so nothing to select",
    ("protocol=table",): "tabular.file=null: where nothing is trained",
    ("protocol=table", "tabular.file=no.csv"): "no.csv: there is no such file",
    ("evaluate=null",): "evaluate=null: a selection is for the trainings that follow",
    ("overrides=[seed=1]",): "overrides: seed=1: said by the protocol itself (seed)",
    ("select.overrides=[test=true]",): "select.overrides: test=true: said by the protocol itself",
    ("search.overrides=[hydra.run.dir=x]",): "search.overrides: hydra.run.dir=x: hydra's own settings",
    ("overrides=[method]",): "overrides: method: must be key=value",
    ("search.overrides=[method.no_such=1]",): "search/0 (nas.search method.no_such=1 seed=0)",
    ("evaluate.experiment=no/such",): "evaluate/0",
    ("search.experiment=darts/evaluate_cifar10",): "made for nas.evaluate, not for nas.search",
    ("select.figure=test_accuracy",): "select.figure=test_accuracy: must be a figure of the validation part",
    ("select.figure=valid_perplexity",): "one of valid_loss, valid_accuracy, valid_balanced_accuracy",
    ("select.valid=1.5",): "select.valid=1.5: must be a share above 0 and below 1",
    ("select.valid=null",): "select.valid=null: no images are held out",
    ("experiment=darts/cifar10_first_order",): "made for nas.search, not for nas.protocol",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_what_cannot_be_is_refused_before_the_first_run(words, run, stood_in, tmp_path):
    done = run("protocol", *words, f"hydra.run.dir={tmp_path / 'a'}")
    assert_refused(done, REFUSED[words])
    assert not stood_in[1] and not (tmp_path / "a").exists()


def test_a_multirun_of_a_protocol_is_refused_once_and_not_job_by_job(run):
    done = run("protocol", "-m", "protocol=direct", "seed=0,1")
    assert_refused(done, "-m", "hydra/launcher=workers")
    assert "job" not in done.out + done.err


def test_a_whole_row_is_refused_by_commands_of_single_runs(run):
    for command in ("search", "cost"):
        done = run(command, "experiment=darts/table1_random")
        assert_refused(done, "python -m nas.protocol experiment=darts/table1_random")


@pytest.fixture
def begun(run, stood_in, tmp_path):
    """The folder of a protocol whose searches are done."""
    stood_in[0]["evaluate/0"] = 1
    assert run("protocol", "protocol=direct", f"hydra.run.dir={tmp_path / 'a'}").status == 1
    stood_in[0].clear(), stood_in[1].clear()
    return tmp_path / "a"


def test_a_protocol_that_goes_on_keeps_its_settings(run, begun, stood_in):
    changed = run("protocol", f"resume={begun}", "search.seeds=9")
    assert_refused(changed, "search.seeds=9: a protocol that goes on")
    assert_refused(run("search", f"resume={begun}"), "it is a run of nas.protocol, not of nas.search")
    assert run("protocol", f"resume={begun}", "protocol=direct").status == 0
    assert [one[0] for one in stood_in[1]] == ["evaluate/0"]


HOSTILE = {
    "overrides": [
        "method.update._target_=os.system", "logger=wandb", "logger.entity=somebody", "dataset.download=true",
        "hydra.run.dir=/elsewhere", "trust=os", "space.operations=[somewhere.Module]",
        "tabular=natsbench", "dataset=../../elsewhere", "dataset={download:true}",
        "+trainer={default_root_dir:/elsewhere}", "trainer={plugins:{a:/elsewhere/a}}",
    ],
    "search.experiment": ["../../../elsewhere"],
    "search.grid": ["method._target_=os.system"],
    "tabular.name": ["natsbench"],
    "search._target_": ["os.system"],
}  # fmt: skip


def test_a_folder_of_a_stranger_starts_nothing_that_it_may_not_name(run, begun, stood_in):
    saved = (begun / "config.yaml").read_text()
    for key, value in ((name, one) for name, given in HOSTILE.items() for one in given):
        config = OmegaConf.create(saved)
        lists = {"overrides": [value], "search.grid": [[value]]}
        OmegaConf.update(config, key, lists.get(key, value), force_add=True)
        (begun / "config.yaml").write_text(OmegaConf.to_yaml(config))
        assert_refused(run("protocol", f"resume={begun}"), f"resume={begun}")
    assert not stood_in[1]


def test_what_leads_out_of_the_folder_is_no_run_of_it(run, begun, stood_in, tmp_path):
    (begun / "evaluate/0/summary.json").unlink()
    (begun / "evaluate/0/summary.json").symlink_to(tmp_path / "elsewhere")
    assert_refused(run("protocol", f"resume={begun}"), "summary.json in", "is a link")
    assert not stood_in[1]


@pytest.mark.parametrize("row", ROWS)
def test_every_run_of_every_row_composes(row, run, stood_in, tmp_path):
    """Each step is composed and checked by its own command's rules before the first starts."""
    folder = tmp_path / "a"
    (tmp_path / "table.csv").write_text("arch,cifar10_test\n")
    table = [f"tabular.file={tmp_path}/table.csv"] if "/table4_" in row else []
    done = run("protocol", f"experiment={row}", "debug=fast", *table, f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    assert {one[0].split("/")[0] for one in stood_in[1]} >= {"search"}
    assert summary(folder)["experiment"] == row


@needs_joblib
def test_workers_run_a_phase_side_by_side(tmp_path):
    assert_side_by_side(tmp_path, "workers")


@needs_submitit
def test_submitit_runs_a_phase_side_by_side(tmp_path):
    assert_side_by_side(tmp_path, "local")


def assert_side_by_side(folder, launcher):
    words = ("protocol=direct", "debug=fast", *DIGITS, f"hydra/launcher={launcher}")
    words += (f"hydra.run.dir={folder / 'a'}",)
    done = finish(command_line("protocol", *words), timeout=300, env=os.environ | {"TMPDIR": str(folder)})
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in rows(folder / "a")] == ["finished"] * 4
    jobs = [json.loads((folder / f"a/search/{number}/job.json").read_text()) for number in (0, 1)]
    assert len({job["pid"] for job in jobs}) == 2 and (folder / "a/search/0/output.txt").stat().st_size
