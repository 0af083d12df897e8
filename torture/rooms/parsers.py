"""Everything that reads a text or a file, with valid inputs, words of its form, and what must hold."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser

from nas import genotype as genotypes
from nas.analysis.benchmark_table import read_csv
from nas.analysis.confusion import confusion, read_confusion
from nas.analysis.cost.latency_table import parse_table
from nas.analysis.cost_table import read_costs
from nas.analysis.random_cells import read_random_cells
from nas.analysis.summaries import check_summary, conditions_of, figures_of
from nas.analysis.sweeps import canonical, parse_overrides
from nas.data.corpus import Corpus
from nas.data.npz import read_arrays
from nas.data.table import read_table as read_listing
from nas.data.tokens import CHARACTERS, WORDS
from nas.engine import checkpoints
from nas.engine.genotype_log import genotype_of_epoch
from nas.engine.run_folder import RunFolder, read_table, split_hash
from nas.formats.description import from_json
from nas.pages.heat import derived
from nas.reading.csv_text import csv_lines, parse_csv
from nas.reading.json_text import parse_json, read_object
from nas.reading.pictures import decode, header
from nas.reading.yaml_text import parse_yaml
from nas.running.courses import read_course
from nas.running.kinds import kind
from nas.running.multirun import read_jobs
from nas.running.runs import read_runs
from nas.running.saved import read_config, read_overrides
from nas.running.typed_values import with_texts
from nas.running.words import quoted, word
from torture.commands import held
from torture.rooms import samples


@dataclass(frozen=True)
class Parser:
    """Something that reads what anybody may have written.

    Attributes:
        read: an input and a folder for it -> what it means; raises `ConfigError` where it is refused.
        seeds: inputs that are valid.
        words: what the form is written with.
        again: what must hold of what was read, such as that it is read again from what is written of it.
        plain: whether the form is JSON, whose containers can be changed.
        batch: inputs of a case.
    """

    read: Callable[[bytes, Path], Any]
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    again: Callable[[Any], None] = lambda value: None
    plain: bool = False
    batch: int = 10_000


def text_of(content: bytes) -> str:
    """Bytes as the words of a command line have them: what is no UTF-8 becomes surrogates."""
    return content.decode("utf-8", "surrogateescape")


def filed(name: str, read: Callable[[Path], Any]) -> Callable[[bytes, Path], Any]:
    """What reads a file, of its content; `read` is given its folder where the name ends with a slash."""

    def of_content(content: bytes, folder: Path) -> Any:
        path = folder / name.rstrip("/")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return read(folder if name.endswith("/") else path)

    return of_content


def _genotype(content: bytes, folder: Path) -> Any:
    text = text_of(content)
    return text, genotypes.parse(text)


def _genotype_again(found: Any) -> None:
    text, genotype = found
    held(genotypes.parse(genotype.to_json()) == genotype, "the JSON of a genotype is read as another")
    if not text.strip(genotypes.WRAPPING).startswith("{"):
        held(genotypes.parse(genotype.to_text()) == genotype, "the text of a genotype is read as another")


def _override(content: bytes, folder: Path) -> Any:
    key, _, text = text_of(content).partition("=")
    value = OverridesParser.create().parse_override(f"key={quoted(text)}").value()
    held(value == text, f"{text!r} in quotes is read as {value!r}")
    parse_overrides([f"{key}={text}"])
    canonical(text)
    (typed,) = with_texts("search", [f"{key}={text}"])
    return typed


def _overrides_again(typed: str) -> None:
    (again,) = with_texts("search", [typed])
    held(again == typed or "${" in typed, f"{typed!r} is read as {again!r} the second time")


def _words(content: bytes, folder: Path) -> Any:
    """Values as words of a command line."""
    value = parse_json(text_of(content), "words")
    return value if _plain_keys(value) else None


def _plain_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return all(kind("str").fits(key) and key.isidentifier() and key.isascii() and _plain_keys(one)
                   for key, one in value.items())  # fmt: skip
    return all(map(_plain_keys, value)) if isinstance(value, list) else True


def _words_again(value: Any) -> None:
    if value is None:
        return
    read = OverridesParser.create().parse_override(f"key={word(value)}").value()
    held(read == value, f"{value!r} as a word is read as {read!r}")


def _summary(path: Path) -> Any:
    found = read_object(path)
    check_summary(found, "summary.json")
    figures, conditions = figures_of(found), conditions_of(found)
    held(all(math.isfinite(value) for value in figures.values()), "a figure is not finite")
    held(all(str(text).isprintable() for text in conditions.values()), "a condition is not printable")
    return figures


def _latency_again(table: Any) -> None:
    held(parse_table(table.to_json()) == table, "the JSON of a table of latencies is read as another")


def _description_again(found: Any) -> None:
    held(from_json(found.to_json(), "again") == found, "the JSON of a description is read as another")


def _json_again(value: Any) -> None:
    held(parse_json(json.dumps(value), "again") == value, "JSON is read as something else")


def _csv(content: bytes, folder: Path) -> Any:
    return parse_csv(text_of(content), "csv")


def _csv_again(found: Any) -> None:
    columns, rows = found
    again, others = parse_csv(csv_lines([columns, *(fields for _, fields in rows)]), "again")
    kept = [fields for _, fields in others]
    held(again == columns and kept == [fields for _, fields in rows], "CSV is read as something else")


def _confusion_again(table: Any) -> None:
    again = confusion(table.part, table.names, table.counts)
    held(again.counts == table.counts, "counts are read as others")


def _corpus(tokenizer: str) -> Callable[[bytes, Path], Any]:
    def read(content: bytes, folder: Path) -> Any:
        for part, name in zip(_thirds(content), ("train", "valid", "test"), strict=True):
            (folder / f"{name}.txt").write_bytes(part)
        corpus = Corpus(folder, tokenizer=tokenizer)
        streams, words = (corpus.train(), corpus.valid(), corpus.test()), corpus.words()
        held(len(set(words)) == len(words), "a token has two numbers")
        for stream in streams:
            held(
                len(stream) == 0 or 0 <= int(stream.min()) <= int(stream.max()) < len(words),
                "a token has no word",
            )
        corpus.found()
        return streams

    return read


def _thirds(content: bytes) -> tuple[bytes, bytes, bytes]:
    # At the form's own mark, so that what is left out there moves a text from a part to another.
    parts = (content.split(b"\x1e", 2) + [b"a b\n", b"a b\n"])[:3]
    return parts[0], parts[1], parts[2]


def _run_folder(path: Path) -> Any:
    """A line of a folder's table."""
    found = read_runs(path.parent.parent)
    for run in found.runs:
        held(run.folder.isprintable() and run.reason.isprintable(), "what is said of a run is not printable")
    return found


def _picture(path: Path) -> Any:
    header(str(path), "picture")
    return decode(str(path), "RGB", "picture")


def _npz_again(arrays: Mapping[str, np.ndarray]) -> None:
    held(all(array.dtype.kind in "biufUSc" for array in arrays.values()), "an array is of objects")


def parsers(folder: Path) -> dict[str, Parser]:
    """All of them by name; some keep files in the folder, which must be there."""
    text, table = samples.GENOTYPE_WORDS, samples.CSV_WORDS
    plain = samples.JSON_WORDS
    return {
        "genotype": Parser(_genotype, samples.genotype_texts(), text, _genotype_again),
        "genotype-json": Parser(_genotype, samples.genotype_json(), plain, _genotype_again, True),
        "genotype-file": Parser(
            filed("cells.txt", lambda path: genotypes.load(f"{path}:DARTS_V2")), samples.genotype_files(),
            text
        ),
        "genotypes": Parser(
            filed("all.txt", lambda path: genotypes.load_all(path, "darts")), samples.genotype_files(), text
        ),
        "override": Parser(_override, samples.OVERRIDES, samples.OVERRIDE_WORDS, _overrides_again,
        batch=2_000),
        "words": Parser(_words, samples.plain_values(), plain, _words_again, True, batch=2_000),
        "table": Parser(filed("table.csv", read_csv), [samples.table("cifar10_test")], table),
        "costs": Parser(filed("costs.csv", read_costs), [samples.table("edgegpu_ms")], table),
        "latency": Parser(
            lambda content, _: parse_table(text_of(content)), samples.latencies(), plain, _latency_again, True
        ),
        "summary": Parser(filed("summary.json", _summary), samples.summaries(), plain, plain=True),
        "runs": Parser(filed("0/summary.json", _run_folder), samples.summaries(), plain, plain=True,
        batch=2_000),
        "overrides": Parser(filed("overrides.yaml", read_overrides), samples.YAML, samples.YAML_WORDS),
        "multirun": Parser(filed("multirun.yaml", read_jobs), samples.MULTIRUNS, samples.YAML_WORDS,
        batch=2_000),
        "config": Parser(
            filed("config.yaml", lambda path: read_config(path, "resume")), samples.YAML, samples.YAML_WORDS,
            batch=5_000,
        ),
        "yaml": Parser(lambda content, _: parse_yaml(text_of(content), "yaml"), samples.YAML,
        samples.YAML_WORDS),
        "json": Parser(
            lambda content, _: parse_json(text_of(content), "json"), samples.summaries(), plain,
            _json_again, True
        ),
        "csv": Parser(_csv, [samples.table("a"), b'a,b\n"1,2",3\n'], table, _csv_again),
        "metrics": Parser(filed("metrics.csv", read_table), [samples.METRICS], table),
        "course": Parser(
            filed("metrics.csv/", lambda path: read_course(path, "test_accuracy")), [samples.METRICS], table
        ),
        "confusion": Parser(filed("confusion.csv", read_confusion), [samples.CONFUSION], table,
        _confusion_again),
        "epochs": Parser(
            filed("genotypes.jsonl/", lambda path: genotype_of_epoch(path, 0)), samples.genotype_logs(), plain
        ),
        "heat": Parser(
            lambda content, _: derived(text_of(content).split("\n")), samples.genotype_logs(), plain
        ),
        "split": Parser(
            filed("split.json/", lambda path: split_hash(RunFolder(path), "0")), samples.SPLITS, plain,
            plain=True
        ),
        "random-cells": Parser(
            filed("cells.json", lambda path: read_random_cells(str(path))), samples.random_cells(), plain,
            plain=True
        ),
        "description": Parser(
            lambda content, _: from_json(text_of(content), "file"), samples.descriptions(), plain,
            _description_again, True,
        ),
        "words-corpus": Parser(_corpus(WORDS), samples.CORPORA, samples.TEXT_WORDS, batch=3_000),
        "characters-corpus": Parser(_corpus(CHARACTERS), samples.CORPORA, samples.TEXT_WORDS, batch=500),
        "listing": Parser(
            filed("files.csv", lambda path: read_listing(path, path.parent, {})), samples.listings(folder),
            table
        ),
        "npz": Parser(
            filed("a.npz", lambda path: read_arrays(path, "dataset.file")), samples.archives(), [b"PK",
            b"descr"],
            _npz_again, batch=3_000,
        ),
        "checkpoint": Parser(
            filed("epoch=0001.ckpt", checkpoints.load), samples.checkpoints(), [b"PK", b"data.pkl", b"c__"],
            batch=3_000,
        ),
        "picture": Parser(filed("a.png", _picture), samples.pictures(), [b"IHDR", b"IDAT", b"Exif"],
        batch=3_000),
    }  # fmt: skip
