"""What `nas.bench` measures a space with: said for each class of spaces, read from the space's YAML file."""

from pathlib import Path

import yaml

from nas.running.declared import CONF

# The class of a space -> the method and the data set that it is measured with.
MEASURED_WITH = {
    "nas.spaces.dso.DsoSpace": ("dsonas", "cifar10"),
    "nas.spaces.recurrent.RecurrentSpace": ("darts2_rnn", "wikitext_mini"),
}
OTHERS = ("darts1", "cifar10")


def measured_method(space: str) -> str:
    """The method that a space of conf/space is measured with."""
    return MEASURED_WITH.get(_target(space), OTHERS)[0]


def measured_dataset(space: str) -> str:
    """The data set that a space of conf/space is measured with."""
    return MEASURED_WITH.get(_target(space), OTHERS)[1]


def _target(space: str) -> str:
    """The class that a file of conf/space names, or one of the files that it begins with."""
    file = CONF / "space" / f"{Path(space).name}.yaml"
    if not file.is_file():
        return ""
    node = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    found = node.get("_target_")
    bases = [one for one in node.get("defaults", ()) if isinstance(one, str) and one != "_self_"]
    return str(found) if found else next((name for one in bases if (name := _target(one))), "")
