"""Places of data and tables in a protocol's overrides hold in any folder; whose words of a table count."""

import pytest
from omegaconf import OmegaConf

from nas.running.places import placed
from tests.commands.test_bad_input import assert_refused
from tests.commands.test_protocol import begun, stood_in
from tests.commands.test_surrogates import MINE, mine

__all__ = ["begun", "mine", "stood_in"]


@pytest.fixture
def start(tmp_path, monkeypatch):
    """The folder of the command, with files in it."""
    folder = tmp_path / "start"
    (folder / "more").mkdir(parents=True)
    for name in ("a.csv", "more/b c.csv", "model"):
        (folder / name).write_text("30")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("tabular.costs=[a.csv,'more/b c.csv',/c.csv]", '["{0}/a.csv","{0}/more/b c.csv",/c.csv]'),
        ("+method.cost.table=[a.csv]", '["{0}/a.csv"]'),
        ("dataset.root='b c'", '"{0}/b c"'),
        ("++dataset.source.file=x.npz", '"{0}/x.npz"'),
        ("dataset={root:here,name:here}", '{{root:"{0}/here",name:here}}'),
        ("++tabular.surrogate.model_path=model", '"{0}/model"'),
        (
            "tabular.surrogate={_target_:model,files:[model,hub]}",
            '{{_target_:model,files:["{0}/model",hub]}}',
        ),
        ("+tabular.surrogate.weights_dir=more/new", '"{0}/more/new"'),
    ],
)
def test_an_override_names_its_places_from_the_root(start, typed, kept):
    quoted = kept.format(start)
    # Words of letters and slashes alone need no quotes, which a temporary folder may lack.
    assert placed(typed).replace('"', "") == f"{typed.partition('=')[0]}={quoted}".replace('"', "")


@pytest.mark.parametrize(
    "typed",
    [
        "tabular.costs=null", "dataset.root=/data", "dataset.root=${oc.env:DATA}", "~tabular.costs",
        "tabular.costs=[a.csv", "dataset.name=model", "dataset.root=", "+tabular.surrogate.model_path=bert",
        "+tabular.surrogate.model_path=org/bert", "+tabular.surrogate.file=https://a.b/model",
        "+tabular.surrogate.name=model", "tabular.surrogate._target_=model",
    ],
)  # fmt: skip
def test_an_override_without_a_place_of_this_folder_stays(start, typed):
    assert placed(typed) == typed


def test_lists_and_a_surrogates_arguments_in_a_grid_hold_in_any_folder(run, mine, start, stood_in, tmp_path):
    def words_of(folder, *given):
        words = (
            "search.seeds=1",
            "search.overrides=[space=nasbench201]",
            f"hydra.run.dir={tmp_path / folder}",
        )
        done = run("protocol", "protocol=table", *given, *words)
        assert done.status == 0, done.err
        return [one.replace('"', "") for one in stood_in[1][-1]]

    costs = "search.grid=[[\"tabular.costs=[a.csv,'more/b c.csv']\"]]"
    found = words_of("a", "tabular.file=a.csv", costs)
    assert f"tabular.costs=[{start}/a.csv,{start}/more/b c.csv]" in found
    read = ("tabular=surrogate", "tabular.surrogate._target_=counting_mine.Read")
    read += ("tabular.metric=cifar10_test", "+tabular.surrogate.weight_file=a.csv")
    found = words_of("b", *read, "search.grid=[[++tabular.surrogate.weight_file=model]]")
    assert f"++tabular.surrogate.weight_file={start}/model" in found


def test_names_that_are_no_files_stay_among_a_surrogates_arguments(run, mine, start, stood_in, tmp_path):
    (mine / "joining_mine.py").write_text(
        "import os\n\n\nclass Joined:\n"
        "    def __init__(self, weights_dir, file, model_path):\n"
        "        self.base = float(open(os.path.join(weights_dir, file)).read())\n"
        "        assert model_path == 'org/hub'\n\n"
        "    def __call__(self, genotype):\n"
        "        return {'cifar10_test': self.base}\n"
    )
    (start / "more/c.txt").write_text("40")
    arguments = ("weights_dir=more", "file=c.txt", "model_path=org/hub")
    given = ("tabular=surrogate", "tabular.surrogate._target_=joining_mine.Joined")
    given += ("tabular.metric=cifar10_test", *(f"+tabular.surrogate.{one}" for one in arguments))
    words = ("search.seeds=1", "search.overrides=[space=nasbench201]", f"hydra.run.dir={tmp_path / 'a'}")
    done = run("protocol", "protocol=table", *given, *words)
    assert done.status == 0, done.err
    kept = OmegaConf.load(tmp_path / "a/config.yaml").tabular.surrogate
    assert (kept.weights_dir, kept.file, kept.model_path) == (str(start / "more"), "c.txt", "org/hub")


def test_what_an_earlier_version_left_relative_is_vouched_for_as_it_was_typed(run, start, begun, stood_in):
    words = ["dataset.download=true", "tabular.costs=[a.csv]", "dataset.root=x"]
    typed = 'search.grid=[["dataset.download=true","tabular.costs=[a.csv]","dataset.root=x"]]'
    config = OmegaConf.load(begun / "config.yaml")
    (begun / "overrides.yaml").write_text(OmegaConf.to_yaml([typed]))
    for kept in (words, [*words[:2], f"dataset.root={start / 'x'}"], list(map(placed, words))):
        config.search.grid = [kept]
        (begun / "config.yaml").write_text(OmegaConf.to_yaml(config))
        assert_refused(run("protocol", f"resume={begun}"), "if that is yours, type search.grid=[...] again")
        again = run("protocol", f"resume={begun}", typed)
        assert "if that is yours" not in again.err
    config.search.grid = [[*words[:2], "dataset.root=y"]]
    (begun / "config.yaml").write_text(OmegaConf.to_yaml(config))
    assert_refused(
        run("protocol", f"resume={begun}", typed), "if that is yours, type search.grid=[...] again"
    )


def test_words_of_a_table_are_refused_only_where_the_protocol_looks_up(run, mine, stood_in, tmp_path):
    experiments = tmp_path / "own/experiment/mine"
    experiments.mkdir(parents=True)
    (experiments / "searched.yaml").write_text(
        "# @package _global_\n"
        "defaults: [/experiment/start/digits, override /tabular: surrogate, _self_]\n"
        "made_for: search\ntabular: {surrogate: {_target_: counting_mine.Counted}, metric: cifar10_test}\n"
    )
    own = f"--config-dir={tmp_path / 'own'}"
    typed = "search.overrides=[tabular.cost=phone]"
    words = (
        "protocol=direct",
        "evaluate.experiment=start/evaluate_digits",
        "search.experiment=mine/searched",
        typed,
    )
    done = run("protocol", *words, f"hydra.run.dir={tmp_path / 'a'}", own)
    assert done.status == 0, done.err
    assert "tabular.cost=phone" in stood_in[1][0]
    again = run("protocol", f"resume={tmp_path / 'a'}", typed, own)
    assert again.status == 0, again.err
    refused = run("protocol", *words, *MINE, f"hydra.run.dir={tmp_path / 'b'}", own)
    assert_refused(
        refused, "search.overrides: tabular.cost=phone: said by the protocol itself (tabular.cost)"
    )
