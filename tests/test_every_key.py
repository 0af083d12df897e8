"""Every key of every group does something: another legal value changes what is built, or is refused.

What is compared is what a command builds from a configuration, without running it: networks on no device,
methods with their optimisers, data with its splits, the training module, what Lightning's Trainer is given. A
key that matters in some circumstance alone stands in `WHEN` with it and is tried there; one that its command
does not read stands in `ELSEWHERE`; one that nothing reads says so in its comment.
"""

import re
from functools import cache

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from nas.analysis.exploration import check_exploration
from nas.domains import images, text
from nas.domains.choose import choose
from nas.domains.networks import network_of
from nas.engine import trainer
from nas.engine.learning import check_epochs
from nas.engine.machine import hardware
from nas.engine.machine.execution import apply_execution
from nas.engine.progress import Clock
from nas.engine.recording import SearchRecorder
from nas.engine.restarts import restarts_of, with_restarts
from nas.engine.run_folder import RunFolder
from nas.errors import ConfigError
from nas.measure import memory_fit as fit
from nas.methods.layout import layout_of
from nas.running.config import CONF, instantiate, plain, register_resolvers
from nas.running.session import trainer_of
from tests.fingerprint import fingerprint

CELLS = ("space=nasbench201", "space.cells_per_stage=1", "space.init_channels=4")
WORDS = ("space=darts_rnn", "dataset=wikitext_mini", "space.hidden_size=4", "space.num_nodes=2")
BLOCKS = ("space=dso_small", "method=dsonas")
THREE = ("recipe.num_cells=3", "recipe.init_channels=8")
NARROW = ("space.num_cells=3", "space.init_channels=12")
# The configurations whose keys are tried: the command, its choices, the node that holds the keys.
CASES = {
    "space darts": ("search", ("space=darts", "dataset=cifar10", *THREE, *NARROW), "space"),
    "space nasbench201": ("search", CELLS, "space"),
    "space dso": ("search", BLOCKS, "space"),
    "space darts_rnn": ("search", WORDS, "space"),
    "method darts1": ("search", (*CELLS, "method=darts1"), "method"),
    "method darts2": ("search", (*CELLS, "method=darts2"), "method"),
    "method drnas": ("search", (*CELLS, "method=drnas"), "method"),
    "method drnas_progressive": (
        "search",
        (*CELLS, "method=drnas_nb201_progressive", "trainer.max_epochs=100"),
        "method",
    ),
    "method darts_es": ("search", (*CELLS, "method=darts_es"), "method"),
    "method darts_ada": ("search", (*CELLS, "method=darts_ada"), "method"),
    "method oles": ("search", (*CELLS, "method=oles"), "method"),
    "method dsonas": ("search", (*BLOCKS, "trainer.max_epochs=240"), "method"),
    "method dsonas_random": ("search", ("space=dso_small", "method=dsonas_random"), "method"),
    "method random": ("search", ("space=darts", "method=random"), "method"),
    "dataset digits": ("search", CELLS, "dataset"),
    "dataset wikitext_mini": ("search", WORDS, "dataset"),
    "dataset digits, evaluated": ("evaluate", THREE, "dataset"),
    "dataset wikitext_mini, evaluated": ("evaluate", WORDS[:2], "dataset"),
    "recipe cifar10": ("evaluate", ("dataset=cifar10", *THREE), "recipe"),
    "recipe imagenet": ("evaluate", ("dataset=imagenet", "recipe=drnas_imagenet", *THREE), "recipe"),
    "recipe nasbench201": ("evaluate", ("space=nasbench201", "recipe=nasbench201"), "recipe"),
    "recipe dso_cifar10": ("evaluate", ("space=dso", "dataset=cifar10", "recipe=dso_cifar10"), "recipe"),
    "recipe wikitext_mini": ("evaluate", WORDS[:2], "recipe"),
    "hardware": ("search", CELLS, "hardware"),
    "trainer": ("search", CELLS, "trainer"),
    "trainer, evaluated": ("evaluate", THREE, "trainer"),
    "checkpoint": ("search", CELLS, "checkpoint"),
    "processes": ("search", (*CELLS, "hardware.devices=2"), "processes"),
    "analysis": ("search", CELLS, "analysis"),
}
# A key that does not matter everywhere -> settings under which it must.
UNROLLED = {"method.update": "unrolled"}
STAGED = {"method.stages": [{"epochs": 25, "partial": 2}, {"epochs": 25}]}
PRICED = {"method.cost.weight": 0.1}
WHEN = {
    "space.embedding_size": {"space.tied": False},
    "method.xi": UNROLLED,
    "method.implicit": UNROLLED,
    "method.epsilon": UNROLLED,
    "method.virtual_momentum": UNROLLED,
    "method.virtual_clip": UNROLLED,
    "method.anchor": {"method.lam": 0.1},
    "method.anchor_form": {"method.lam": 0.1},
    **dict.fromkeys(("method.cost.of", "method.cost.form"), PRICED),
    **dict.fromkeys(("method.cost.multiplier", "method.cost.rate"), PRICED | {"method.cost.budget": 1e6}),
    "method.cost.table": PRICED | {"method.cost.of": "latency"},
    "method.widen": STAGED,
    "method.learning_rate_at_stage": STAGED,
    "method.architecture_optimizer.lr": {"method.tied_rate": False},
    "dataset.split": {"dataset.fraction": 0.5},
    "dataset.split_ratio": {"dataset.split": "ordered"},
    "hardware.wide": {"hardware.native": False},
    "hardware.recompute": {"hardware.native": False, "hardware.wide": True},
    "hardware.check_memory": {"hardware.memory_gib": 1.0},
    "analysis.hessian.mode": {"analysis.hessian.every": 1},
    "analysis.hessian.batches": {"analysis.hessian.every": 1},
    "analysis.hessian.weight_decay": {"analysis.hessian.every": 1},
}
# A key that a command takes, because the data set's file has it, and that another command reads.
ELSEWHERE = {
    ("evaluate", "dataset.split_ratio"): "a search divides the training set, an evaluation has all of it",
    ("evaluate text", "dataset.split"): "the same; a text's parts are its own",
    ("evaluate text", "dataset.bptt.deviation"): "refused where it is typed: an evaluation has recipe.bptt's",
    ("search text", "dataset.test_batch_size"): "no search looks at the test text",
}
# Other legal values, where no rule makes one; the first that is not the present one is taken.
OTHER = {
    "space.operations": [
        ["skip_connect", "nor_conv_3x3"],
        ["skip_connect", "sep_conv_3x3"],
        ["tanh", "relu"],
    ],
    "space.stem": ["imagenet", "cifar"],
    "space.num_cells": [6],
    "space.init_channels": [24],
    "space.embedding_size": [8],
    "space.partial": [2],
    "space.blocks_per_stage": [[2, 1, 1]],
    "space.tied": [False],
    "space.fixed_scales": ["all"],
    "recipe.drop_path_depth": ["blocks"],
    "recipe.drop_path_ramp": ["epoch"],
    "method.relaxation": [
        {"_target_": f"nas.methods.relaxations.{name}"} for name in ("Softmax", "Dirichlet")
    ],
    "method.perturbation": [{"_target_": "nas.methods.perturbations.Random"}],
    "method.edges": [{"_target_": "nas.methods.relaxations.Softmax"}],
    "method.selection": [{"_target_": "nas.methods.selections.Projection"}],
    "method.update": [
        {"_target_": "nas.methods.updates.FirstOrder"},
        {"_target_": "nas.methods.updates.Unrolled", "xi": 0.5},
    ],
    "method.implicit": ["exact"],
    "method.xi": [0.5],
    "method.virtual_clip": [0.5],
    "method.anchor": ["none"],
    "method.cost.of": ["macs"],
    "method.cost.form": ["log"],
    "method.cost.budget": [1e6],
    "method.cost.multiplier": ["adaptive"],
    "method.cost.table": ["somewhere/latency.json"],
    "method.anchor_form": ["optimizer"],
    "method.stages": [[{"epochs": 50}], None],
    "method.learning_rate_at_stage": ["continuous"],
    "method.widen": ["shared", "independent"],
    "method.clip": [1.0],
    "method.clip_value": [1.0],
    "method.architecture_clip": [1.0],
    "method.evaluation_draw": ["sample"],
    "method.draws": ["rank"],
    "method.ranking": ["mean"],
    "method.adaptive": ["none"],
    "method.latency_table": ["somewhere/latency.json"],
    "method.budget.macs": [1e6],
    "method.budget.params": [1e6],
    "method.architecture_optimizer.betas": [[0.9, 0.99]],
    "dataset.root": ["elsewhere"],
    "dataset.class_weights": ["balanced"],
    "dataset.sampling": ["balanced"],
    "dataset.split": ["random", "ordered"],
    "dataset.cutout": [2],
    "dataset.augment.crop": [[0.5, 1.0]],
    "dataset.augment.jitter": [[0.4, 0.4, 0.4, 0.1]],
    "recipe.stem": ["imagenet", "cifar"],
    "recipe.clip": [1.0],
    "recipe.cutout": [4],
    "recipe.embedding_size": [8],
    "recipe.blocks_per_stage": [[2, 8, 8]],
    "recipe.init_channels": [24],
    "recipe.num_cells": [6],
    "recipe.hidden_size": [24],
    "hardware.accelerator": ["auto"],
    "hardware.strategy": ["ddp"],
    "hardware.precision": ["64-true"],
    "hardware.threads": [2],
    "hardware.memory_gib": [1.0],
    "trainer.profiler": ["simple"],
    "analysis.hessian.mode": ["exact"],
}
# Labels of reports, and what Hydra needs to build an object.
LABELS = ("name", "_target_", "_partial_")


@pytest.fixture(scope="module")
def recorded():
    """What reaches the outside: arguments of Lightning's Trainer, and calls that set the process up."""
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pl, "Trainer", lambda **arguments: arguments)
        patch.setattr(trainer, "wants_bar", lambda: True)
        patch.setattr(torch, "set_num_threads", lambda number: calls.append(("threads", number)))
        patch.setattr(hardware, "keep_freed_memory", lambda: calls.append("keeps memory"))
        yield calls


@pytest.fixture(scope="module")
def composed():
    """`composed(case) -> (command, configuration, node)`."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield cache(
            lambda case: (CASES[case][0], compose(CASES[case][0], list(CASES[case][1])), CASES[case][2])
        )
    GlobalHydra.instance().clear()


def leaves(node, prefix):
    """The dotted keys of a node that hold values of their own."""
    found = []
    for name in node:
        key, raw = f"{prefix}.{name}", node._get_node(name)
        if name in LABELS or (isinstance(raw._value(), str) and raw._value().startswith("${")):
            continue
        # A part is one value, whichever class it names.
        whole = not isinstance(raw, DictConfig) or key in ("method.relaxation", "method.update")
        found += [key] if whole else leaves(raw, key)
    return found


def there(config, key):
    """Whether the configuration has that key: methods differ in theirs."""
    parent, _, name = key.rpartition(".")
    return name in OmegaConf.select(config, parent)


def other(key, value):
    """Another value that the key may have."""
    for one in OTHER.get(key, ()):
        if one != value:
            return one
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    assert isinstance(value, float), f"{key}={value}: name another legal value in OTHER"
    return value / 2 if value else 0.25


def method_of(config, space):
    torch.manual_seed(config.seed)
    shapes = {name: group.shape for name, group in space.groups.items()}
    return instantiate(config.method, shapes=shapes, layout=layout_of(space.groups))


def built_space(config, space, source):
    with torch.device("meta"):
        supernet = space.supernet(choose(space, source).inputs(source))
        ranked = {
            name: torch.rand(group.shape, device="cpu", generator=torch.Generator().manual_seed(1))
            for name, group in space.groups.items()
        }
        genotype = space.derive(ranked)
        network = network_of(config, space, genotype, source)
    return space.groups, supernet, genotype, network, choose(space, source).task(space, None, None, source)


def built_method(config, space, source):
    method = method_of(config, space)
    check_epochs(plain(config), method)
    parts = dict(vars(method)) | {"schedule": dict(vars(method.schedule)), "regularizers": {}}
    for name in ("weight_optimizer", "weight_scheduler", "architecture_optimizer"):
        parts.pop(name)
    if method.stages is None:
        # Stored, and read by nobody.
        parts["schedule"].pop("widen"), parts["schedule"].pop("learning_rate_at_stage")
    for name, part in method.regularizers.items():
        if part.lam != 0:
            parts["regularizers"][name] = part
    if not method.trains:
        return parts, dict(method.alpha.items())
    weight = method.weight_optimizer([torch.nn.Parameter(torch.zeros(one)) for one in ((2, 2), (2,))])
    rates = method.architecture_optimizer(method.alphas())
    if method.tied_rate:
        for group in rates.param_groups:
            group["lr"] = weight.param_groups[0]["lr"]
    return parts, dict(method.alpha.items()), weight, method.weight_scheduler(weight), rates


def built_data(command, config, space, source):
    domain = choose(space, source)
    if command == "search":
        data, division = domain.search_data(config, source, method_of(config, space)), None
    else:
        data, division = domain.evaluation_data(config, source)
    data.prepare()
    weights = data.class_weights(plain(config.dataset).get("class_weights"))
    return data, division, weights


def built_training(config, space, source, folder):
    zeros = {name: torch.zeros(group.shape) for name, group in space.groups.items()}
    with torch.device("meta"):
        network = network_of(config, space, space.derive(zeros), source)
    domain = choose(space, source)
    task = domain.task(space, config.recipe, None, source)
    scheduler = with_restarts(instantiate(config.recipe.scheduler), restarts_of(plain(config.restarts)))
    module = domain.evaluation(config, network, task, scheduler, folder.checkpoints)
    arguments = arguments_of(config, space, source)
    if space.domain == "text":
        arguments["bptt"] |= plain(config.recipe.bptt)
    return module, arguments, built_trainer(config, folder, config.recipe.clip)


def arguments_of(config, space, source):
    return (text if space.domain == "text" else images).data_arguments(config, source)


def built_trainer(config, folder, clip=None):
    return trainer_of(config, folder, Clock(config.trainer.max_epochs), pl.Callback(), False, clip)


def built_hardware(config, space, source, folder, calls):
    calls.clear()
    hardware.check_hardware(config.hardware, searches=True)
    hardware.use_device(config.hardware)
    with torch.device("meta"):
        supernet = apply_execution(space.supernet(choose(space, source).inputs(source)), config.hardware)
    room = fit._room(plain(config), source, 0)
    return list(calls), supernet, arguments_of(config, space, source), room, built_trainer(config, folder)


def built_analysis(config, space, folder):
    check_exploration(config.analysis.exploration.samples, None)
    asked = plain(config.analysis.hessian)
    recorder = SearchRecorder(
        folder, Clock(1), 0, metrics=(), space=space, hessian=asked,
        implicit_every=config.analysis.implicit.every, samples=config.analysis.exploration.samples,
    )  # fmt: skip
    return recorder.hessian if asked["every"] else None, recorder.implicit_every, recorder.samples


def built(command, config, node, calls, folder):
    """What the keys of a node end up in."""
    space, source = instantiate(config.space), instantiate(config.dataset.source)
    if node == "space":
        return built_space(config, space, source)
    if node == "method":
        return built_method(config, space, source)
    if node == "dataset":
        return built_data(command, config, space, source)
    if node == "recipe":
        return built_training(config, space, source, folder)
    if node == "hardware":
        return built_hardware(config, space, source, folder, calls)
    if node == "analysis":
        return built_analysis(config, space, folder)
    return built_trainer(config, folder)


def told(key):
    """Whether the comment of a key says that nothing reads it."""
    group, _, name = key.partition(".")
    line = re.compile(rf"^\s*{name.rpartition('.')[2]}:.*#.*(not read|no effect)", re.MULTILINE)
    return any(line.search(path.read_text()) for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_every_key_changes_what_is_built_or_is_refused(case, composed, recorded, tmp_path):
    command, config, node = composed(case)
    folder = RunFolder(tmp_path)
    kind = f"{command} text" if "bptt" in config.dataset else command

    def seen(settings):
        changed = config.copy()
        for key, value in settings.items():
            OmegaConf.update(changed, key, value, merge=False)
        return fingerprint(built(command, changed, node, recorded, folder))

    usual, ignored = seen({}), []
    for key in leaves(config[node], node):
        if (kind, key) in ELSEWHERE or (command, key) in ELSEWHERE:
            continue
        value = OmegaConf.select(config, key)
        value = plain(value) if OmegaConf.is_config(value) else value
        when = {one: to for one, to in WHEN.get(key, {}).items() if there(config, one)}
        try:
            before = seen(when) if when else usual
            after = seen(when | {key: other(key, value)})
        except ConfigError as error:
            assert node in str(error) or key.rpartition(".")[2] in str(error), (key, str(error))
            continue
        if before == after and not told(key):
            ignored.append(key)
    assert not ignored, f"{case}: accepted and ignored"


def test_the_tables_name_keys_that_there_are(composed):
    known = {key for case in CASES for command, config, node in [composed(case)]
             for key in leaves(config[node], node)}  # fmt: skip
    tables = {*WHEN, *OTHER, *(key for _, key in ELSEWHERE)}
    assert not tables - known
