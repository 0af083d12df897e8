"""Valid inputs of every form that the project reads, made by code, and the words that it is written with."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nas.analysis.cost.latency import Latency
from nas.analysis.cost.latency_table import Conditions, LatencyTable, Line
from nas.genotype import published
from nas.spaces.pieces import Piece
from tests.formats.networks import DSO, NB201, described, step_of

GENOTYPE_WORDS = (
    b"Genotype(", b"genotypes.Genotype(", b"DSO(", b"mine(", b"normal=", b"reduce=", b"recurrent=",
    b"concat=",
    b"normal_concat=", b"reduce_concat=", b"range(2, 6)", b"list(range(2, 6))", b"[", b"]", b"(", b")",
    b"{", b"}",
    b"'", b'"', b"|", b"+", b"~", b":", b";", b">", b"=", b",", b"#", b"\\", b"\n", b"None", b"True", b"nan",
    b"np.int64(1)", b"'sep_conv_3x3'", b"skip_connect", b"nor_conv_3x3~0", b"normal_n2_switch",
    b"normal_n2_p0",
    b"normal/op_2_0", b"0_1", b"'a' 'b'", b"f'{x}'", b"b'a'", b"lambda: 0", b"*x", b"**x", b"1 if 1 else 2",
    b"1e999",
    b"Infinity", b"0x" + b"f" * 6000, b"[1 for x in y]", b"(" * 500, b"-" * 300, b"1j", b"'''", b"'\\d'",
    b"0or 1",
)  # fmt: skip
JSON_WORDS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"true", b"NaN", b"Infinity", b"-Infinity", b"1e999",
    b"-0",
    b'"schema": 1', b'"space"', b'"cells"', b'"nodes"', b'"output"', b'"inputs"', b'"status"', b'"table"',
    b'"epoch"',
    b'"\\ud800"', b'"\\u0000"', b'"_target_"', b"[" * 1000, b'{"a":' * 1000, b"9" * 5000, b"\xef\xbb\xbf",
    b"\xff\xfe",
)  # fmt: skip
CSV_WORDS = (
    b",", b";", b"\t", b"\n", b"\r\n", b"\r", b'"', b'""', b"arch", b"epoch", b"nan", b"-inf", b"1e309",
    b"1_0", b" ",
    b"\0", b"\xef\xbb\xbf", b"=1+1", b"," * 1200, b"a" * 140_000, b"true\\predicted", b"file,label,part",
    b"train", b"~",
)  # fmt: skip
YAML_WORDS = (
    b": ", b"- ", b"\n", b"  ", b"\t", b"{", b"}", b"[", b"]", b"&a ", b"*a", b"!!python/name:os.system ",
    b"!!set ",
    b"<<: ", b"? ", b"| ", b"> ", b"---\n", b"...\n", b"%YAML 1.1\n", b"'", b'"', b"#", b"${seed}",
    b"${oc.env:HOME}",
    b"~", b"null", b".inf", b".nan", b"1e3", b"0o7", b"0x1f", b"1:30", b"2001-01-01", b"1_000", b"y", b"=",
    b"\xef\xbb\xbf",
    b"9" * 5000, b"[" * 80, b"a: " * 80, b"\xc2\x85", b"\xe2\x80\xa8", b"\0",
)  # fmt: skip
TEXT_WORDS = (
    b" ", b"\n", b"\r\n", b"\t", b"\x1e", b"\x0b", b"\x1c", b"\xc2\xa0", b"\xe2\x80\xa8", b"<eos>",
    b"<unk>", b"\xef\xbb\xbf",
    b"\0", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"e\xcc\x81", b"\xf0\x9f\x98\x80", b"a" * 5000,
)  # fmt: skip
OVERRIDE_WORDS = (
    b"=", b",", b"[", b"]", b"{", b"}", b"(", b")", b"'", b'"', b"\\", b"\\'", b'\\"', b"\\\\", b"${seed}",
    b"$", b"~",
    b"+", b"++", b"*", b"@", b":", b"/", b" ", b"\t", b"\n", b"\0", b"choice(1,2)", b"range(1,3)",
    b"glob(*)", b"null",
    b"true", b"nan", b"1e3", b"1_0", b"int(1)", b"method", b"seed", b"trainer.max_epochs", b"search.grid",
    b"overrides",
    b"dataset.root", b"\xed\xa0\x80", b"\xff", b"%", b"#", b"!", b"sort(1,2)", b"shuffle(", b"\xe2\x80\xae",
    b"?",
)  # fmt: skip
OVERRIDES = (
    b"seed=1", b"trainer.max_epochs=1e3", b"method=darts1", b"dataset.root=/a b/c",
    b"genotype=Genotype(normal=[])",
    b"space.operations=[none,skip_connect]", b"dataset.root='quoted'", b"+trainer.callbacks=[{_target_:a.B}]",
    b"outputs=~/runs", b"overrides=[a=1,b=[2,3]]", b"search.grid=[[seed=0,1]]", b"dataset.file=a,b=c",
    b"tabular.costs=[a.csv]",
    b"dataset.root=C:\\data\\x", b"dataset.root=a\\", b"~method.budget", b"genotype=|none~0|+|none~0|none~1|",
)  # fmt: skip
YAML = (
    b"command: search\nseed: 0\nspace:\n  name: darts\n  operations: [none, skip_connect]\n  share: true\n"
    b"trainer: {max_epochs: 1, limit: 1.0e-3}\nnothing: null\n",
    b"- seed=0\n- 'method=darts1'\n- \"dataset.root=a b\"\n",
    b"a:\n- b: 1\n  c: |\n    text\n    more\n- .5\n- 'it''s'\n- \"\\x41\\u263a\"\n",
    b"restarts: []\nlogger: {tags: [a, b], entity: }\n? key\n: value\n",
)
MULTIRUNS = tuple(
    (
        "hydra:\n  job:\n    config_name: search\n  sweep:\n    dir: x\n    subdir: ${hydra.job.num}\n"
        "  sweeper:\n"
        "    _target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper\n    params: " + params + "\n"
        "  overrides:\n    task:\n    - " + task + "\n"
    ).encode()
    for params, task in (("null", "seed=0,1"), ("{seed: '0,1'}", "method=darts1"), ("{}", "seed=range(0,3)"))
)
METRICS = (
    b"epoch,step,train_loss,test_accuracy,seconds\n0,2,2.3,,1.5\n1,4,2.25,0.125,1.25\n2,6,nan,0.25,1.5\n"
)
CONFUSION = b"test true\\predicted,a,b,c\na,1,0,2\nb,0,3,0\nc,0,0,0\n"
SPLITS = (
    json.dumps(
        {"weight": [[0, 10], 12], "architecture": [11], "hash": "0" * 64, "files_hash": "1" * 64}
    ).encode(),
)
CORPORA = (
    b"the cat sat\non the mat\n\x1ea dog sat\n\x1ethe end\n",
    "\ufeffGrüße, Welt 😀\r\nzwei\r\n\x1edrei\n\x1evier fünf\n".encode(),
)


def genotype_texts() -> list[bytes]:
    """Architectures of every family in every spelling."""
    found = [str(genotype) for spaces in published().values() for genotype in spaces.values()]
    found += [NB201, DSO, "123", "mine(cell:2+2[2=a.B(0)+none(1) 3=x(0,2)]>2,3)"]
    found.append(
        "[[('none', 0)], [('none', 0), ('skip_connect', 1)], [('none', 0), ('none', 1), ('none', 2)]]"
    )
    found.append(
        "arch = genotypes.Genotype(recurrent=[('tanh', np.int64(0)), ('relu', 1)], concat=range(1, 3))"
    )
    found.append(json.dumps({f"{i}_{j}": "conv_3x3" for j in range(1, 4) for i in range(j)}))
    shot: dict[str, Any] = {}
    hub: dict[str, Any] = {}
    for cell in ("normal", "reduce"):
        for node in range(2, 6):
            shot |= {f"{cell}_n{node}_p{source}": "maxpool" for source in range(node)}
            shot[f"{cell}_n{node}_switch"] = [0, f"{cell}_n{node}_p1"]
            for position in (0, 1):
                hub |= {
                    f"{cell}/op_{node}_{position}": "skip_connect",
                    f"{cell}/input_{node}_{position}": [position],
                }
    found += [json.dumps(shot), repr(hub)]
    return [text.encode() for text in found]


def genotype_json() -> list[bytes]:
    """Architectures of every family as their files hold them."""
    chosen = [spaces for name, spaces in published().items() if name in ("DARTS_V2", "ENAS", "NASNet")]
    return [genotype.to_json().encode() for spaces in chosen for genotype in spaces.values()]


def genotype_files() -> list[bytes]:
    """Files with several architectures."""
    some = [spaces["darts"] for spaces in published().values() if "darts" in spaces][:3]
    lines = "\n".join(f"epoch {number} {genotype}" for number, genotype in enumerate(some))
    code = f"import collections\n\nDARTS_V1 = {some[0]}\nDARTS_V2 = {some[1]}\nDARTS = DARTS_V2\n"
    return [lines.encode(), code.encode(), str(some[0]).encode()]


def plain_values() -> list[bytes]:
    """Values of keys as JSON."""
    values = [
        1,
        -2.5,
        "a b",
        "null",
        "it's",
        'a"b',
        "a\\",
        "\\'",
        "",
        {"a": [1, "x"], "b": None},
        [True, "${seed}"],
    ]
    return [json.dumps(value).encode() for value in values]


def table(column: str) -> bytes:
    """A small table of architectures of NAS-Bench-201."""
    rows = ["|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", NB201]
    return "\n".join([f"arch,{column},params", f"{rows[0]},10.0,1.5", f"{rows[1]},93.25,", ""]).encode()


def latencies() -> list[bytes]:
    """Tables of latencies, with a line and without."""
    conditions = Conditions("a processor", 1, 1, "32-true", False)
    pieces = {
        Piece("skip_connect", 8, 4, 4): Latency(0.01, 0.001, 5),
        Piece("add", 8, 4, 4, inputs=2): Latency(1, 0, 2),
    }
    line = Line(3, 1.5, 0.25, 0.9, 0.8, 0.125, 0.0625)
    return [
        LatencyTable(conditions, pieces, {"space": "darts"}, one).to_json().encode() for one in (None, line)
    ]


def summaries() -> list[bytes]:
    """What runs have reached."""
    shared = {"schema": 1, "status": "finished", "seed": 0, "epochs": 1, "planned_epochs": 1, "seconds": 1.25}
    shared |= {"split_hash": "0" * 64, "versions": {"torch": "2.9"}, "git_commit": None, "device": "cpu"}
    table = {
        "metric": "cifar10_test",
        "cifar10_test": 93.5,
        "rank": 3,
        "of": 15625,
        "gap": 0.8,
        "cifar100_test": 70,
    }
    found: list[dict[str, Any]] = [
        {"command": "search", "genotype": "Genotype()", "architecture_accuracy": 0.5, "table": table}
        | shared,
        {"command": "evaluate", "test_accuracy": 0.875, "test_loss": 0.5, "params": 12345, "macs": 10**9}
        | shared,
        {"command": "evaluate", "test_perplexity": 61.5} | shared,
        {"command": "search", "status": "failed", "error": "a word\nanother", "exit_status": 2},
    ]
    return [json.dumps(one).encode() for one in found]


def genotype_logs() -> list[bytes]:
    """The architectures of three epochs."""
    some = genotype_texts()[:3]
    lines = [json.dumps({"epoch": epoch, "genotype": text.decode()}) for epoch, text in enumerate(some)]
    return ["".join(f"{line}\n" for line in lines).encode()]


def random_cells() -> list[bytes]:
    """A record of two random cells."""
    cells = [{"seed": seed, "genotype": NB201, "params": 10, "test_accuracy": 0.5} for seed in (0, 1)]
    record = {"schema": 1, "origin": {"device": "cpu"}, "conditions": {"space.name": "darts"}, "cells": cells}
    return [json.dumps(record).encode()]


def descriptions() -> list[bytes]:
    """What exported files say of networks of every family."""
    found: list[Any] = [described(name) for name in ("darts", "nasbench201", "dso")]
    found.append(step_of("DARTS_V2")[0])
    return [one.to_json().encode() for one in found]


def listings(folder: Path) -> list[bytes]:
    """Tables of pictures, which are there."""
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(pictures()[0])
    return [
        b"file,label,part\na.png,cat,train\nb.png,dog,test\n",
        f"path;class\n{folder / 'a.png'};1\n{folder / 'b.png'};2\n".encode(),
    ]


def archives() -> list[bytes]:
    """Archives of arrays, with and without a test part."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 3, 8, 8)).astype(np.uint8)
    arrays = {"images": images, "labels": np.array([0, 1, 0, 1])}
    test = {"test_images": images / 255.0, "test_labels": np.array(["a", "b", "a", "b"])}
    return [saved(np.savez, arrays), saved(np.savez_compressed, arrays | test)]


def saved(save: Any, arrays: dict[str, np.ndarray]) -> bytes:
    """An archive of arrays."""
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def checkpoints() -> list[bytes]:
    """Checkpoints of Lightning's, without the training that made them."""
    state = {"network.a": torch.arange(4.0), "network.b": torch.zeros(2, 3)}
    content = {
        "state_dict": state,
        "epoch": 0,
        "global_step": 2,
        "optimizer_states": [{}],
        "lr_schedulers": [{}],
    }
    content |= {"loops": {}, "callbacks": {}, "monitors": {}, "frozen": []}
    found: list[bytes] = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        found.append(buffer.getvalue())
    return found


def pictures() -> Sequence[bytes]:
    """Pictures of every form and mode that is read."""
    found = []
    pixels = np.arange(8 * 9 * 4, dtype=np.uint8).reshape(8, 9, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    for form, image in (
        ("png", Image.fromarray(pixels[..., :3])), ("png", Image.fromarray(pixels)),
        ("png", Image.fromarray(pixels[..., 0]).convert("P")), ("tiff", Image.fromarray(pixels[...,
        0].astype("int32"))),
        ("jpeg", Image.fromarray(pixels[..., :3])), ("bmp", Image.fromarray(pixels[..., 0])),
        ("ppm", Image.fromarray(pixels[..., :3])), ("webp", Image.fromarray(pixels[..., :3])),
        ("png", Image.fromarray(pixels[..., 0].astype("uint16"))), ("tiff", Image.fromarray(pixels[..., :3])),
    ):  # fmt: skip
        found.append(encoded(form, image, **({"exif": exif} if form in ("jpeg", "png", "tiff") else {})))
    return found


def encoded(form: str, image: Image.Image, **options: Any) -> bytes:
    """A picture as a file of a form holds it."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
