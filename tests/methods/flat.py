"""Methods and parts from the short keys that people type, as a configuration of them builds them."""

from omegaconf import OmegaConf

from nas.methods.method import Method
from nas.methods.relaxations import Relaxation
from nas.methods.updates import Update
from nas.running.config import instantiate

OBJECTS = ("shapes", "layout", "weight_optimizer", "weight_scheduler", "architecture_optimizer")


def flat_method(name: str, shapes: dict, target: str = "nas.methods.method.Method", **keys) -> Method:
    """The method of these keys: objects are handed over, everything else stands in the configuration."""
    objects = {key: keys.pop(key) for key in OBJECTS if key in keys}
    usual = {"_target_": target, "name": name, "relaxation": "softmax", "update": "first_order"}
    config = OmegaConf.create({"method": usual | keys})
    return instantiate(config.method, shapes=shapes, **objects)


def flat_sparse(name: str, shapes: dict, **keys) -> Method:
    """The same of DSO-NAS's."""
    return flat_method(name, shapes, "nas.methods.sparse.SparseMethod", **{"relaxation": "scaling"} | keys)


def relaxation_of(word: str, **keys) -> Relaxation:
    """The relaxation that a word and short keys stand for."""
    return flat_method(
        "m", {"cell": (2, 1 if word == "connections" else 2)}, relaxation=word, init_scale=0.0, **keys
    ).relaxation


def update_of(word: str, **keys) -> Update:
    """The update that a word and short keys stand for."""
    return flat_method("m", {"cell": (2, 2)}, update=word, **keys).update
