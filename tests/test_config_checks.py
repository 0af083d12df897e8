"""What was typed, or saved in a run folder, is held against what the files and signatures declare."""

import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.errors import ConfigError
from nas.running.config import CONF, register_resolvers
from nas.running.config_checks import check_saved, hold
from nas.running.declared import KINDS, declared
from nas.running.kinds import of_annotation, of_examples
from tests.commands.test_bad_input import assert_refused

ROOTS = (
    "search", "evaluate", "derive", "export", "latency", "rank", "bench", "cost", "sweeps", "blackbox",
    "report", "dashboard", "protocol", "predict",
)  # fmt: skip
HUGE = 1_000_000_000
REFUSED = [
    ("trainer", None, "trainer=null: must be a group of keys (max_epochs"),
    ("checkpoint", [1], "checkpoint=[1]: must be a group of keys (every, keep)"),
    ("method", 3, "method=3: must be a group of keys"),
    ("dataset.source", "x", "dataset.source=x: must be a group of keys"),
    ("dataset.augment", None, "dataset.augment=null: must be a group of keys (pad, flip, crop, jitter)"),
    ("trainer.max_epochs", "3", "trainer.max_epochs='3': must be a whole number from 1 to 1000000 (it is 50"),
    ("trainer.max_epochs", True, "trainer.max_epochs=true: must be a whole number"),
    ("hardware.threads", "a", "hardware.threads=a: must be a whole number from 1 to 1024 or null"),
    ("processes.timeout", "x", "processes.timeout=x: must be a number from 0"),
    ("trainer.profiler", 3, "trainer.profiler=3: must be text or a group of keys or null"),
    ("logger.name", 3, "logger.name=3: must be text"),
    ("space.operations", 3, "space.operations=3: must be"),
    ("space.operations", [1, 2], "a list of which each is text"),
    ("space.num_cells", HUGE, "space.num_cells=1000000000: must be a whole number from 1 to 1000"),
    ("recipe.init_channels", HUGE, "recipe.init_channels=1000000000: must be a whole number from 1 to 4096"),
    ("dataset.batch_size", HUGE, "dataset.batch_size=1000000000: must be"),
    ("trainer.log_every_n_steps", 2**70, "must be a whole number"),
    ("method.lam", float("nan"), "method.lam=nan: must be a number"),
    ("method.clip", "a", "method.clip=a: must be a number or null"),
    ("method.weight_optimizer.lr", [1], "method.weight_optimizer.lr=[1]: must be a number"),
    ("method.weight_optimizer.nesterov", 3, "nesterov=3: must be true or false"),
    ("method.weight_optimizer._partial_", False, "_partial_=false: must be true here"),
    ("space._partial_", True, "space._partial_=true"),
    ("seed", {"a": 1}, "seed={'a': 1}: must be a whole number from 0 to 4294967295"),
]
# Nothing reads these; in a saved configuration they are let pass.
UNKNOWN = [
    ("recipe.weights_of_classes", [1.0], "recipe.weights_of_classes=[1.0]: unknown key, nothing reads it"),
    ("recipe.stm", "cifar", "the nearest known is recipe.stem"),
    ("trainer.max_stps", 3, "the nearest known is trainer.max_steps"),
    ("trainer.logger", True, "trainer.logger=true: unknown"),
    ("method.weight_optimizer.nestrov", True, "the nearest known is method.weight_optimizer.nesterov"),
    ("space.num_cels", 3, "the nearest known is space.num_cells"),
    ("hardware.thread", 1, "the nearest known is hardware.threads"),
    ("sed", 1, "the nearest known is seed"),
    ("method._args_", [1], "hydra's keywords stay as the files have them"),
    ("dataset.source._recursive_", False, "hydra's keywords stay as the files have them"),
]
TAKEN = [
    ("method.weight_optimizer.nesterov", True),
    ("method.weight_optimizer.dampening", 0),
    ("method.clip", None),
    ("method.density", 0.5),
    ("trainer.max_steps", 3),
    ("trainer.max_time", "00:01:00:00"),
    ("trainer.profiler", "simple"),
    ("trainer.profiler", {"_target_": "pytorch_lightning.profilers.SimpleProfiler", "extended": False}),
    ("trainer.limit_train_batches", 2),
    ("space.num_cells", 20),
    ("space.operations", {"normal": [["none"]], "reduce": [["none"]]}),
    ("hardware.devices", [0]),
    ("hardware.precision", 32),
    ("dataset.root", "data"),
    ("tabular.file", "table.csv"),
    ("dataset.lists", {"weight": "a.txt", "architecture": None}),
]


@pytest.fixture(scope="module")
def roots():
    """`roots(name) -> (what the files declare, the composed default)`."""
    register_resolvers()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        found = {name: (declared(name), compose(name)) for name in ROOTS}
    return found.__getitem__


def changed(config, path, value):
    copied = config.copy()
    OmegaConf.set_struct(copied, False)
    OmegaConf.update(copied, path, value, merge=False, force_add=True)
    return copied


@pytest.mark.parametrize("name", ROOTS)
def test_what_the_files_say_fits(roots, name):
    files, default = roots(name)
    hold(files, default, default)
    check_saved(name, default, "here")


@pytest.mark.parametrize("name", ROOTS)
def test_every_value_that_may_be_typed_has_a_kind(roots, name):
    files, default = roots(name)
    known = files.copy()
    known.add(default)
    # Arguments of what is built have that of their signature.
    built = {path.removesuffix("._target_") for path in known.examples if path.endswith("._target_")}
    bare = [
        path for path in known.examples if known.kind(path) is None and path.rpartition(".")[0] not in built
    ]
    # Here the files give a reference alone; what it refers to has a kind.
    assert set(bare) <= {"recipe.embedding_size"}, "add to nas.running.declared.KINDS what these may become"


def test_kinds_by_hand_are_of_keys_that_there_are(roots):
    for key in KINDS:
        path, _, only = key.partition("@")
        assert any(path in roots(name)[0].examples for name in ([only] if only else ROOTS)), key


@pytest.mark.parametrize(("path", "value", "words"), REFUSED, ids=lambda one: str(one)[:40])
def test_other_kinds_and_sizes_are_refused_typed_or_saved(roots, path, value, words):
    files, default = roots("search")
    config = changed(default, path, value)
    with pytest.raises(ConfigError, match=re.escape(words)):
        hold(files, config, default)
    with pytest.raises(ConfigError, match=f"^resume=a: config.yaml: {re.escape(path)}=") as refused:
        check_saved("search", config, "resume=a: config.yaml")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("path", "value", "words"), UNKNOWN, ids=lambda one: str(one)[:40])
def test_keys_that_nothing_reads_are_refused(roots, path, value, words):
    files, default = roots("search")
    with pytest.raises(ConfigError, match=f"^{re.escape(path)}=") as refused:
        hold(files, changed(default, path, value), default)
    assert words in str(refused.value)
    check_saved("search", changed(default, path, value), "here")


@pytest.mark.parametrize(("path", "value"), TAKEN, ids=str)
def test_what_somebody_reads_is_taken(roots, path, value):
    files, default = roots("search")
    hold(files, changed(default, path, value), default)
    check_saved("search", changed(default, path, value), "here")


class Own:
    """Somebody else's space, as far as a configuration sees it."""

    recipe_sizes = ("depth",)

    def __init__(self, name: str, depth: int, parts: dict | None = None):
        self.name = name


def test_the_signature_of_somebody_elses_class_says_what_is_known(roots):
    files, default = roots("search")
    own = {"_target_": f"{__name__}.Own", "name": "own", "depth": 3, "_convert_": "all", "parts": {"a": 1}}
    config = changed(default, "space", own)
    hold(files, config, default)
    hold(files, changed(config, "recipe.depth", 4), default)
    with pytest.raises(ConfigError, match=r"space\.deep=3: unknown key.*nearest known is space\.depth"):
        hold(files, changed(config, "space.deep", 3), default)
    with pytest.raises(ConfigError, match=r"space\.depth=a: must be a whole number"):
        hold(files, changed(config, "space.depth", "a"), default)


def test_a_key_that_another_refers_to_is_read(roots):
    files, default = roots("search")
    config = changed(changed(default, "rate", 0.1), "method.weight_optimizer.lr", "${rate}")
    hold(files, config, default)


def test_what_an_object_can_do_without_may_be_taken_out(roots):
    files, default = roots("search")
    for path, needed in (("method.lam", False), ("checkpoint", True), ("trainer.max_epochs", True)):
        config = default.copy()
        OmegaConf.set_struct(config, False)
        parent, _, key = path.rpartition(".")
        (OmegaConf.select(config, parent) if parent else config).pop(key)
        if not needed:
            hold(files, config, default)
            continue
        with pytest.raises(ConfigError, match=f"~{re.escape(path)}: this key cannot be taken out"):
            hold(files, config, default)


def leaves(config, path=""):
    """Every key of a configuration, groups included."""
    for key in config:
        node, here = config._get_node(key), f"{path}.{key}".lstrip(".")
        yield here
        if isinstance(node, DictConfig) and not node._is_none():
            yield from leaves(node, here)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text("abc${}=3.,", max_size=6)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab_", min_size=1), inner, max_size=2)
    ),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_fits_or_is_refused_in_one_line(roots, data):
    name = data.draw(st.sampled_from(ROOTS))
    files, default = roots(name)
    path = data.draw(st.sampled_from(sorted(leaves(default))))
    try:
        config = changed(default, path, data.draw(values))
    except OmegaConfBaseException:
        return  # what OmegaConf does not hold, such as a text with half a reference in it
    for check in (lambda: hold(files, config, default), lambda: check_saved(name, config, "here")):
        try:
            check()
        except ConfigError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 1000


@given(value=values)
def test_a_kind_from_an_example_takes_the_example(value):
    kind = of_examples([value])
    if kind is not None and not re.search(r"nan|inf", str(value)) and not re.search(r"\d{19}", str(value)):
        assert kind.fits(value)
        assert kind.words()


@pytest.mark.parametrize(
    ("annotation", "fits", "wrong"),
    [
        (int | None, [1, None], [1.5, True, "1"]),
        (float, [1, 0.5], [True, None, float("inf")]),
        (list[int], [[1, 2], []], [[1.5], 3, "ab"]),
        (tuple[float, ...], [[1, 0.5]], [["a"]]),
        (dict | list[str], [{}, ["a"]], [3, [1]]),
    ],
    ids=str,
)
def test_annotations_become_kinds(annotation, fits, wrong):
    kind = of_annotation(annotation)
    assert all(map(kind.fits, fits))
    assert not any(map(kind.fits, wrong))


@pytest.mark.parametrize("choice", ["method=3", "logger=null", "hardware=[1]", "experiment=3"])
def test_a_choice_that_is_no_name_is_refused_with_the_names_that_there_are(run, choice):
    group, value = choice.split("=")
    assert_refused(run("search", choice), f"{group}={value}: must be ")


def test_typed_keys_that_nothing_reads_and_hydras_keywords_are_refused(run, tmp_path):
    place = f"hydra.run.dir={tmp_path / 'a'}"
    assert_refused(run("search", "+recipe.weights=[1]", place), "recipe.weights=[1]: unknown key")
    assert_refused(run("cost", "genotype=DARTS_V2", "+recipe={nope: 1}", place), "recipe.nope=1: unknown key")
    assert_refused(run("search", "+space._partial_=true", place), "space._partial_=true")
    assert_refused(run("search", "space.operations={}", place), "space.operations")
    assert not (tmp_path / "a/config.yaml").exists()


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("search", "resume"),
        ("evaluate", "resume"),
        ("derive", "run"),
        ("export", "genotype"),
        ("predict", "model"),
    ],
)
def test_saved_configurations_are_held_against_the_same(roots, run, tmp_path, command, key):
    saved = "search" if command == "derive" else "evaluate" if command in ("export", "predict") else command
    # As runs write it: resolved, and where they lie is nobody's business.
    plain = OmegaConf.to_container(changed(roots(saved)[1], "outputs", "x"), resolve=True)
    OmegaConf.save(changed(OmegaConf.create(plain), "space.num_cells", HUGE), tmp_path / "config.yaml")
    done = run(command, f"{key}={tmp_path}")
    assert_refused(done, f"{key}={tmp_path}: config.yaml: space.num_cells=1000000000: must be a whole number")
    assert "\n" not in done.err.strip()
