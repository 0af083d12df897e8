"""The closed lists of what a saved configuration may name hold all that they should, and nothing else."""

import importlib
import inspect
import pkgutil

import torch
from hydra.utils import get_object
from omegaconf import OmegaConf

import nas.algorithms
import nas.data
import nas.methods
import nas.spaces
from nas.methods.budgeted import WithinBudget
from nas.methods.relaxations.categorical import Categorical
from nas.methods.relaxations.one_hot import Path
from nas.running import targets, trust
from tests.conftest import ROOT


def test_the_lists_hold_what_conf_names():
    """Whatever the project's own files name at a key is allowed at that key."""
    missing = []
    for file in sorted((ROOT / "conf").rglob("*.yaml")):
        group = file.relative_to(ROOT / "conf").parts[:-1]
        prefix = () if not group or group[0] in ("experiment", "debug", "sweep", "paths") else (group[0],)
        if prefix == ("hydra",):
            continue
        tree = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        for key, value, _ in trust._leaves(tree):
            if key and key[-1] == "_target_":
                role = trust.role((*prefix, *key[:-1]))
                # Hydra's own keys are never read from a folder.
                ours = role.startswith("hydra.") or value is None
                if not ours and value not in targets.ROLES.get(role, ()):
                    missing.append(f"{file.name}: {role} -> {value}")
    assert not missing


def test_the_lists_hold_the_other_classes_in_the_same_role():
    def classes(package, *members):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if info.ispkg:
                continue
            # A space is named by its folder.
            shown = importlib.import_module(info.name.rpartition(".")[0])
            for _, found in inspect.getmembers(importlib.import_module(info.name), inspect.isclass):
                concrete = not inspect.isabstract(found) and not getattr(found, "_is_protocol", False)
                if found.__module__ == info.name and concrete and all(hasattr(found, one) for one in members):
                    home = shown if getattr(shown, found.__name__, None) is found else found
                    yield f"{home.__name__ if home is shown else found.__module__}.{found.__qualname__}"

    assert set(classes(nas.spaces, "supernet", "network", "derive")) == set(targets.SPACES)
    m = nas.methods
    bases = {
        "relaxation": m.Relaxation,
        "update": m.Update,
        "regularizers.*": m.Regularizer,
        "perturbation": m.Perturbation,
        "monitors.*": m.Monitor,
    }
    for role, base in bases.items():
        # A budget makes its monitor by itself: no configuration names it.
        found = _ours(base) - {Categorical, Path, WithinBudget}
        assert {get_object(one) for one in targets.ROLES[f"method.{role}"]} == found, role
    assert {get_object(one) for one in targets.ALGORITHMS} == _ours(nas.algorithms.Algorithm)
    sources = set(classes(nas.data, "train", "test"))
    assert sources - {"nas.data.text.TextFolder"} == set(targets.SOURCES)
    optimizers = {
        f"torch.optim.{name}"
        for name, found in vars(torch.optim).items()
        if inspect.isclass(found)
        and issubclass(found, torch.optim.Optimizer)
        and found is not torch.optim.Optimizer
    }
    assert optimizers <= set(targets.OPTIMIZERS)


def _ours(base):
    below = [one for one in base.__subclasses__() if one.__module__.startswith("nas.")]
    return {*below, *(deeper for one in below for deeper in _ours(one))}


def test_every_listed_name_is_there():
    newer = {"torch.optim.Muon"}
    for names in targets.ROLES.values():
        for name in names:
            if name not in newer:
                assert callable(get_object(name)), name
