"""Differentiable neural architecture search: space, method, dataset and hardware, chosen apart.

From Python (docs/python.md):

    import nas

    data = nas.datasets.folder("pets")
    result = nas.run_search(data, space="darts", method="drnas", epochs=20)
    cell = result.derive(max_params=2e6)
    model = nas.run_evaluation(cell, data, epochs=20).model
    model.export("pets.onnx")

`nas.search`, `nas.evaluate` and their like are the modules of the commands.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas import datasets
    from nas.api.data import Data
    from nas.api.language import LanguageModel
    from nas.api.model import Model, Prediction
    from nas.api.results import Derivation, EvaluationResult, Interrupted, SearchResult, load
    from nas.api.runs import resume, run_evaluation, run_search
    from nas.errors import ConfigError
    from nas.running.config import RunFailed

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "Data",
    "Derivation",
    "EvaluationResult",
    "Interrupted",
    "LanguageModel",
    "Model",
    "Prediction",
    "RunFailed",
    "SearchResult",
    "datasets",
    "load",
    "resume",
    "run_evaluation",
    "run_search",
]
# Name -> the module that has it. The commands import this package too, and are to start at once.
HOMES = {
    "ConfigError": "nas.errors",
    "Data": "nas.api.data",
    "Derivation": "nas.api.results",
    "EvaluationResult": "nas.api.results",
    "Interrupted": "nas.api.results",
    "LanguageModel": "nas.api.language",
    "Model": "nas.api.model",
    "Prediction": "nas.api.model",
    "RunFailed": "nas.running.config",
    "SearchResult": "nas.api.results",
    "load": "nas.api.results",
    "resume": "nas.api.runs",
    "run_evaluation": "nas.api.runs",
    "run_search": "nas.api.runs",
}


def __getattr__(name: str) -> Any:
    if name == "datasets":
        return importlib.import_module("nas.datasets")
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
