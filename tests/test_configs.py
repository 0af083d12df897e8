"""Every file under conf/ composes, says what its keys mean, and becomes an object."""

import re
from pathlib import Path

import hydra
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from nas.domains.networks import cost_of, network_of, size_overrides
from nas.engine.decay import optimizer_of
from nas.engine.machine.hardware import lack
from nas.errors import ConfigError
from nas.methods.layout import layout_of
from nas.running.config import CONF, instantiate, register_resolvers
from nas.spaces.darts.space import DartsSpace

FILES = sorted(CONF.rglob("*.yaml"))


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.fixture
def composed():
    """`composed("search", "method=darts2")` -> config."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda root, *overrides: compose(root, list(overrides), return_hydra_config=False)
    GlobalHydra.instance().clear()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_value_has_a_comment(path):
    lines = path.read_text().splitlines()
    header = path.read_text().split("\n\n")[0]
    assert lines[0].startswith("#"), "a header says what the file is"
    inside, bare = None, []
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        # hydra's own settings, the defaults of a variant, and the body of a block of text explain themselves.
        if inside is not None and indent > inside:
            continue
        inside = None
        if re.match(r"\s*(hydra|defaults|help):\s*$", line):
            inside = indent
            continue
        value = re.match(r"\s*([\w.]+):\s*(.*)$", line)
        if not value or value[1] in ("_target_", "_partial_", "optimizer", "scheduler"):
            continue
        # An option of a part is explained at the short key that it refers to.
        if re.fullmatch(r"\$\{method\.\w+\}", value[2]):
            continue
        if value[2] and " #" not in line and f"{value[1]}:" not in header.split("\n")[0] and len(lines) > 3:
            bare.append(line)
    assert not bare


def build(config):
    """The method of a configuration, on the groups of its space."""
    groups = instantiate(config.space).groups
    shapes = {name: group.shape for name, group in groups.items()}
    return instantiate(config.method, shapes=shapes, layout=layout_of(groups))


# Each method with several candidates on an edge and with one; each space with a method of either kind, and
# with those that are called after it.
OWN = {"darts_rnn": "_rnn", "nasbench201": "_nb201"}
PAIRS = [
    (space, method)
    for space in options("space")
    for method in options("method")
    if space in ("darts", "dso_small") or method in ("darts1", "dsonas") or OWN.get(space, " ") in method
]


@pytest.mark.parametrize(("space", "method"), PAIRS)
def test_spaces_and_methods_become_objects(space, method, composed):
    config = composed("search", f"space={space}", f"method={method}")
    if space.startswith("dso") and not method.startswith("dsonas"):
        # Its op weights are distributions over the candidates of an edge, of which there is one.
        with pytest.raises(ConfigError, match=f"method={method}: .* one candidate per edge.* method=dsonas"):
            build(config)
        return
    if method == "dsonas_random" and not space.startswith("dso"):
        with pytest.raises(ConfigError, match="method=random"):
            build(config)
        return
    found = build(config)
    assert found.name == method
    if found.trains:
        parameters = [torch.nn.Parameter(torch.zeros(2))]
        optimizer = found.weight_optimizer(parameters)
        scheduler = found.weight_scheduler(optimizer)
        optimizer.step()
        scheduler.step()
        found.architecture_optimizer(found.alphas())


@pytest.mark.parametrize("space", options("space"))
def test_a_benchmark_has_a_method_that_suits_its_space(space, composed):
    config = composed("bench", f"space={space}")
    named = {"dso": "dsonas", "dso_small": "dsonas", "dso_imagenet": "dsonas", "darts_rnn": "darts2_rnn"}
    assert build(config).name == named.get(space, "darts1")
    assert composed("bench", f"space={space}", "method=drnas").method.name == "drnas"


@pytest.mark.parametrize("space", ["dso", "dso_imagenet", "dso_small"])
def test_debug_fast_makes_three_blocks_of_any_number_of_stages(space, composed):
    config = composed("search", f"space={space}", "method=dsonas", "debug=fast")
    built = instantiate(config.space)
    assert (built.blocks_per_stage, built.init_channels) == ((1, 1, 1), 4)
    assert {"reduce_1", "reduce_2"} == {name for name in built.groups if name.startswith("reduce")}


# Data of one's own are made from a folder or a file: tests/data.
@pytest.mark.parametrize("dataset", sorted({*options("dataset")} - {"arrays", "corpus", "csv", "folder"}))
def test_datasets_become_sources(dataset, composed):
    config = composed("search", f"dataset={dataset}").dataset
    source = instantiate(config.source)
    if "bptt" in config:
        assert source.vocabulary_size > 1000
        return
    assert len(source.image_shape) == 3
    assert source.num_classes >= 2


@pytest.mark.parametrize("recipe", options("recipe"))
def test_recipes_become_optimizers(recipe, composed):
    config = composed("evaluate", f"recipe={recipe}")
    assert config.recipe.name == recipe
    optimizer = optimizer_of(instantiate(config.recipe.optimizer), torch.nn.Linear(2, 2))
    scheduler = instantiate(config.recipe.scheduler)(optimizer)
    optimizer.step()
    scheduler.step()


@pytest.mark.parametrize("dataset", options("dataset"))
def test_every_dataset_has_a_recipe_of_its_name(dataset, composed):
    assert composed("evaluate", f"dataset={dataset}").recipe.name == dataset


@pytest.mark.parametrize("recipe, num_cells", [("nasbench201", 5 * 3 + 2), ("digits", 2 * 3 + 2)])
def test_a_recipe_of_another_space_leaves_the_sizes_to_the_space(recipe, num_cells, composed):
    chosen = [f"recipe={recipe}", "space=nasbench201", "space.cells_per_stage=2"]
    config = composed("evaluate", *chosen)
    space, source = instantiate(config.space), instantiate(config.dataset.source)
    genotype = space.derive({"cell": torch.zeros(6, 5)})
    assert len(network_of(config, space, genotype, source).cells) == num_cells
    words = size_overrides(config, space)
    again = composed("evaluate", f"recipe={recipe}", "space=nasbench201", *words)
    found = cost_of(again, instantiate(again.space), genotype)
    assert found == cost_of(config, space, genotype)


def test_the_gpu_profile_has_a_precision_for_each_update_of_its_own(composed):
    """Those of drawn op weights compute in full precision there, as whatever is not listed."""
    listed = set(composed("search", "hardware=gpu").hardware.precisions)
    derivatives = {"first_order", "joint", "coordinate_descent", "unrolled"}
    assert derivatives < listed and listed - derivatives == {"none"}


@pytest.mark.parametrize("hardware", options("hardware"))
def test_hardware_is_served_or_refused(hardware, composed):
    profile = composed("search", f"hardware={hardware}").hardware
    assert profile.name == hardware
    missing = lack(profile)
    if profile.accelerator == "gpu" and torch.cuda.device_count() < profile.devices:
        assert "choose hardware=cpu" in missing
    else:
        # A GPU that is there may still be too old, and several nodes wait for a launcher.
        assert missing is None or (profile.accelerator == "gpu" and missing.startswith("hardware"))


@pytest.mark.parametrize("group", ["logger", "debug", "sweep"])
@pytest.mark.parametrize("root", ["search", "evaluate"])
def test_late_groups_compose(group, root, composed):
    for option in options(group):
        assert composed(root, f"{group}={option}").command == root


def test_the_roots_name_only_groups_that_exist():
    for path in CONF.glob("*.yaml"):
        for group in re.findall(r"^  - (\w+):", path.read_text(), re.MULTILINE):
            assert (CONF / group).is_dir() or group == "_self_", (path.name, group)


def test_a_space_from_python_needs_no_config():
    assert set(DartsSpace(name="darts", operations=["none", "skip_connect"]).groups) == {"normal", "reduce"}


def test_conf_is_found_from_its_own_place():
    assert Path(hydra.__file__).exists()
    assert (CONF / "search.yaml").is_file()
