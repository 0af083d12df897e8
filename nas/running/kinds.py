"""What kind of value a key takes: from a signature's annotation, from examples, or as declared; in words.

Values are plain ones, as a YAML file or a command line holds them: null, truth values, numbers, text, lists,
mappings. Nothing here knows a key or a file.
"""

import collections.abc
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "map": "a group of keys",
    "null": "null",
}
# Beyond these nothing that counts or seeds goes on as a number of torch's.
LARGEST = 2**63 - 1
SEQUENCES = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable,
             collections.abc.Collection, collections.abc.Set)  # fmt: skip
MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


@dataclass(frozen=True)
class Kind:
    """The values that a key takes.

    Attributes:
        types: names of `WORDS`; `float` takes whole numbers too, and no type takes nan or infinity.
        least: smallest number, inclusive.
        most: largest number, inclusive.
        items: what a list holds; None for anything.
    """

    types: frozenset[str]
    least: float | None = None
    most: float | None = None
    items: "Kind | None" = None

    def fits(self, value: Any) -> bool:
        """Whether a value is of this kind and in its range."""
        name = type_of(value)
        if name == "list":
            return "list" in self.types and (self.items is None or all(map(self.items.fits, value)))
        if name not in ("int", "float"):
            return name in self.types
        if name not in self.types and not (name == "int" and "float" in self.types):
            return False
        low = -math.inf if self.least is None else self.least
        high = math.inf if self.most is None else self.most
        return (name == "float" or abs(value) <= LARGEST) and math.isfinite(value) and low <= value <= high

    def words(self) -> str:
        """What fits, such as `a whole number from 1 to 100, or null`."""
        numbers = [name for name in ("int", "float") if name in self.types][-1:]
        found = [WORDS[name] for name in ("bool", "str", "map") if name in self.types]
        if numbers:
            found.insert(0, WORDS[numbers[0]] + self._range())
        if "list" in self.types:
            found.append("a list" + ("" if self.items is None else f" of which each is {self.items.words()}"))
        if "null" in self.types:
            found.append("null")
        return " or ".join(found)

    def _range(self) -> str:
        if self.least is None and self.most is None:
            return ""
        if self.most is None:
            return f" of at least {self.least}"
        return f" up to {self.most}" if self.least is None else f" from {self.least} to {self.most}"

    def within(self, least: float | None, most: float | None) -> "Kind":
        """This kind with a range for its numbers, and for those of its lists."""
        items = None if self.items is None else self.items.within(least, most)
        return replace(self, least=least, most=most, items=items)


def kind(names: str, least: float | None = None, most: float | None = None, items: str = "") -> Kind:
    """A kind from words of `WORDS`, such as `kind("int null", 1, 8)`; `items` are those of a list."""
    return Kind(frozenset(names.split()), least, most, kind(items, least, most) if items else None)


def type_of(value: Any) -> str:
    """The name of a plain value's type; that of its class for anything else."""
    if value is None:
        return "null"
    for name, classes in (("bool", bool), ("int", int), ("float", float), ("str", str), ("map", Mapping)):
        if isinstance(value, classes):
            return name
    return "list" if isinstance(value, Sequence | set | frozenset) else type(value).__name__


def either(kinds: Iterable[Kind | None]) -> Kind | None:
    """What fits one of several kinds, without their ranges; None (anything) if one is, or there are none."""
    given = list(kinds)
    if not given or any(one is None for one in given):
        return None
    lists = [one for one in given if one is not None and "list" in one.types]
    items = either(one.items for one in lists) if lists else None
    return Kind(frozenset().union(*(one.types for one in given if one is not None)), items=items)


def of_examples(values: Sequence[Any]) -> Kind | None:
    """What such values are (of an empty list's items nothing); None if there are none, or only nulls."""
    if all(value is None for value in values):
        return None
    names = frozenset(type_of(value) for value in values)
    held = [one for value in values if type_of(value) == "list" for one in value]
    return Kind(names, items=of_examples(held) if held else None)


def of_parameter(parameter: inspect.Parameter, annotation: Any) -> Kind | None:
    """What an argument takes, as its annotation and default say; None for anything."""
    found = of_annotation(annotation)
    if found is None or parameter.default is inspect.Parameter.empty:
        return found
    usual = type_of(parameter.default)
    return either((found, Kind(frozenset([usual])))) if usual in WORDS and usual != "list" else found


def of_annotation(annotation: Any) -> Kind | None:
    """The kind that an annotation stands for; None for anything, and for what cannot be told."""
    if annotation is None or annotation is type(None):
        return kind("null")
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _of_union(arguments)
    if origin is typing.Literal:
        return of_examples(arguments)
    if origin is typing.Annotated:
        return of_annotation(arguments[0])
    base = origin or annotation
    if base is collections.abc.Callable or base is Callable:
        return kind("map")
    if base in MAPPINGS:
        return kind("map")
    if base in SEQUENCES:
        held = [one for one in arguments if one is not Ellipsis]
        return Kind(frozenset(["list"]), items=either(of_annotation(one) for one in held) if held else None)
    if not isinstance(base, type):
        return None
    for name, plain in (("bool", bool), ("int", int), ("float", float), ("str", str)):
        if base is plain:
            return kind(name)
    if issubclass(base, PurePath):
        return kind("str")
    # A class of this project can only come from a node that builds it; of others' there is no telling.
    return kind("map") if base.__module__.split(".")[0] == "nas" else None


def _of_union(members: Sequence[Any]) -> Kind | None:
    # A tensor among numbers: a configuration holds none, but a node may build one.
    found = [of_annotation(one) for one in members]
    if any(one is Any or one is object for one in members):
        return None
    return either(kind("map") if one is None else one for one in found)
