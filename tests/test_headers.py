"""What headers of experiments and docs/rows.md say is what the configurations are."""

import json
import re

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from nas.data.draw_split import split
from nas.engine.learning import check_epochs
from nas.measure.workload import image_steps
from nas.methods.layout import layout_of
from nas.running.config import CONF, instantiate, plain, register_resolvers
from nas.running.declared import read_file
from nas.running.procedure import PHASES
from nas.running.typed_values import with_texts

EXPERIMENTS = {str(path.relative_to(CONF / "experiment").with_suffix("")): path.read_text()
               for path in sorted((CONF / "experiment").rglob("*.yaml"))}  # fmt: skip
# Whole procedures, each of which names the experiments of its runs.
ROWS = {name: text for name, text in EXPERIMENTS.items() if "\nmade_for: protocol" in text}
RUNS = {name: text for name, text in EXPERIMENTS.items() if name not in ROWS}
IMAGES = {"digits": 1_437, "cifar10": 50_000, "cifar100": 50_000, "imagenet16_120": 151_700}
# "39,100 steps per run" of a header, "96 steps here, 19,550 there" of a comment: there is the paper's search.
STEPS = re.compile(r"([\d,]+) steps (?:per run|here(?:, ([\d,]+) there)?|of weights and of eta each)")
ONE_LEVEL = ("joint", {"_target_": "nas.methods.updates.Joint"}, "coordinate_descent")
PAPER = "darts/cifar10_first_order"
# Its last part is made of the headers, so what it says of a file is no other source.
LIST = (CONF.parent / "docs/rows.md").read_text()


@pytest.fixture(scope="module")
def composed():
    """`composed("darts/cifar10_small")` -> its configuration, of a search without more words."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda name, root="search", more=(): compose(root, [f"experiment={name}", *more])
    GlobalHydra.instance().clear()


def steps(config, resting=0):
    """Search steps of the whole search, without those of its first epochs."""
    given, number = config.dataset, IMAGES[config.dataset.name]
    labels_N = torch.arange(number) % instantiate(given.source).num_classes
    parts = split(labels_N, given.split, given.split_ratio, given.fraction, config.split_seed)
    # One level learns on all images.
    parts = parts.joined() if config.method["update"] in ONE_LEVEL else parts
    return image_steps(plain(config), len(parts.weight)) * (config.trainer.max_epochs - resting)


@pytest.fixture(scope="module")
def steps_of_the_paper(composed):
    return steps(composed(PAPER))


@pytest.mark.parametrize("name", RUNS)
def test_an_experiment_is_what_its_header_says(name, composed, steps_of_the_paper):
    """It has all words, its command composes, its method is built, and alpha has epochs left to learn in."""
    text = EXPERIMENTS[name]
    for word in ("command", "cost", "published"):
        assert re.search(rf"^#   {word} +\S", text, re.MULTILINE), word
    words = re.search(r"^#   command +python -m nas\.(\w+) (.*)$", text, re.MULTILINE)
    root, arguments = words[1], [word for word in words[2].split() if "=" in word]
    assert f"experiment={name}" in arguments
    single = [argument.split(",")[0].replace("<", "").replace(">", "") for argument in arguments]
    single = [re.sub(r"=run.*", "=run", word) for word in single if not word.startswith("experiment=")]
    config = composed(name, root, single)
    assert config.trainer.max_epochs > 0
    if "method" in config:
        groups = instantiate(config.space).groups
        shapes = {group: edges.shape for group, edges in groups.items()}
        method = instantiate(config.method, shapes=shapes, layout=layout_of(groups))
        assert method.name == config.method.name
        check_epochs(plain(config), method)
    for here, paper in STEPS.findall(text):
        assert int(here.replace(",", "")) == steps(config)
        assert not paper or int(paper.replace(",", "")) == steps_of_the_paper


def test_commands_on_a_gpu_compute_as_the_papers_did():
    """In float32: what hardware=gpu has for first order and evaluations is bfloat16."""
    commands = [line for text in EXPERIMENTS.values() for line in text.splitlines() if "#   command" in line]
    named = [line for line in commands if re.search(r"hardware=(gpu|ddp8)\b", line)]
    assert len(named) >= 190
    assert not [line for line in named if "hardware.precision=32-true" not in line]


@pytest.mark.parametrize(
    ("name", "genotype"),
    [("cifar10_first_order", "DARTS_V1"), ("table1_first_order", "DARTS_V1"),
     ("evaluate_cifar10_nasnet", "NASNet")],
)  # fmt: skip
def test_parameters_that_a_header_counts_are_those_of_the_network(name, genotype, composed, shell):
    counted = re.search(
        r"(?:has|it has) (\d,\d{3},\d{3})(?: parameters by counting|\.)", EXPERIMENTS[f"darts/{name}"]
    )
    evaluation = name if name.startswith("evaluate") else "evaluate_cifar10"
    typed = [] if evaluation == name else [f"genotype={genotype}"]
    config = composed(f"darts/{evaluation}", "evaluate", typed)
    assert config.genotype == genotype
    sizes = [f"recipe.{key}={config.recipe[key]}" for key in ("init_channels", "num_cells")]
    done = shell("cost", f"genotype={genotype}", "dataset=cifar10", "format=json", *sizes)
    assert json.loads(done.out)["params"] == int(counted[1].replace(",", ""))


def test_the_papers_searches_differ_from_the_codes_in_what_their_headers_say(composed):
    """ImageNet: 8 candidates for 7. NAS-Bench-201: stages of 25 epochs for 50, K 8 -> 4 for 4 -> 2."""
    code, paper = (plain(composed(f"drnas/imagenet_search{more}")) for more in ("", "_paper"))
    assert paper["space"].pop("operations") == ["none", *code["space"].pop("operations")]
    assert code == paper
    for dataset in ("cifar10", "cifar100", "imagenet16"):
        code, paper = (plain(composed(f"drnas/nb201_{dataset}_{more}")) for more in ("progressive", "paper"))
        for given, epochs, first in ((code, 50, 4), (paper, 25, 8)):
            stages = given["method"]["stages"]
            assert [stage["epochs"] for stage in stages] == [epochs, epochs]
            assert [stage["partial"] for stage in stages] == [first, first // 2]
            assert [stage["keep"] for stage in stages] == [None, 3]
            assert given["trainer"]["max_epochs"] == 2 * epochs
        for group in ("space", "dataset", "hardware"):
            assert code[group] == paper[group]
        for key in ("architecture_optimizer", "weight_optimizer", "warmup_epochs", "lam", "widen"):
            assert code["method"][key] == paper["method"][key]


@pytest.mark.parametrize("paper", ["darts", "drnas", "dsonas"])
def test_a_row_is_what_its_header_says(paper, composed):
    """It has all words, its command composes, and its runs are experiments of the commands that run them.

    One row of each table is composed here; `tests/commands/test_protocol.py` composes them all.
    """
    wrong, seen = [], set()
    for name, text in ROWS.items():
        if not name.startswith(f"{paper}/"):
            continue
        lacking = [word for word in ("command", "cost", "published")
                   if not re.search(rf"^#   {word} +\S", text, re.MULTILINE)]  # fmt: skip
        words = re.search(r"^#   command +python -m nas.protocol experiment=(\S+) (.*)$", text, re.MULTILINE)
        typed = with_texts("protocol", re.sub(r"<(\w+)>", r"/\1", words[2]).split())
        table = name.partition("_")[0]
        config = (
            read_file(CONF / f"experiment/{name}.yaml")
            if table in seen
            else composed(name, "protocol", typed)
        )
        seen.add(table)
        phases = [one for one in PHASES if config.get(one) is not None]
        runs = [f"\nmade_for: {PHASES[one]}" in EXPERIMENTS[config[one].experiment] for one in phases]
        if lacking or words[1] != name or not all(runs):
            wrong.append(name)
    assert not wrong


def test_the_headers_say_their_steps_in_these_words():
    assert sum(bool(STEPS.findall(text)) for text in EXPERIMENTS.values()) >= 40


def test_steps_of_the_factors_are_those_after_the_pretraining(composed):
    found = re.search(r"([\d,]+) steps of the factors; (\d+) here", EXPERIMENTS["dsonas/cifar10_reduced"])
    configs = [composed(name) for name in ("dsonas/cifar10_share", "dsonas/cifar10_reduced")]
    numbers = [steps(config, config.method.warmup_epochs) for config in configs]
    assert [int(text.replace(",", "")) for text in found.groups()] == numbers


@pytest.mark.parametrize("space", ["s1", "s2", "s3", "s4"])
def test_zela_rows_differ_from_ours_in_what_their_headers_say(space, composed):
    ours, theirs = (plain(composed(f"drnas/{space}{more}")) for more in ("", "_zela"))
    assert ours["method"]["update"] == {"_target_": "nas.methods.updates.FirstOrder"}
    assert theirs["method"]["update"] == "unrolled"
    assert theirs["analysis"]["hessian"] == {"every": 2, "mode": "exact", "batches": 1, "weight_decay": 1e-3}
    for given in (ours, theirs):
        given["method"].pop("update")
        given.pop("analysis")
    assert ours == theirs
    weights = theirs["method"]["weight_optimizer"]
    assert (theirs["dataset"]["batch_size"], theirs["trainer"]["max_epochs"]) == (64, 50)
    assert (weights["lr"], weights["weight_decay"]) == (0.025, 3e-4)
    assert theirs["method"]["weight_scheduler"]["eta_min"] == 0.001
    assert theirs["method"]["architecture_optimizer"]["lr"] == 3e-4 and theirs["method"]["lam"] == 1e-3
    # Their evaluation, which the header names, has another batch than DrNAS's.
    assert (
        compose("evaluate", ["experiment=darts/evaluate_cifar10", f"space={space}"]).recipe.batch_size == 96
    )


def test_every_experiment_is_in_the_list_of_rows():
    text = LIST.partition("## Every file")[0]
    named = set(re.findall(r"`((?:darts|drnas|dsonas|start)/\w+)", text))
    assert named == set(EXPERIMENTS)


def test_published_figures_are_those_of_the_list_of_rows():
    blocks = re.split(r"\n(?=\|)|\n\n", LIST.partition("## Every file")[0])
    found = {name: re.search(r"^#   published +(\d+\.\d+(?: \+- \d+\.\d+)?)", text, re.MULTILINE)
             for name, text in EXPERIMENTS.items()}  # fmt: skip
    assert sum(map(bool, found.values())) >= 95
    for name, figure in found.items():
        rows = [block for block in blocks if re.search(rf"`{name}[` ]", block)]
        assert figure is None or any(figure[1] in row for row in rows), name
