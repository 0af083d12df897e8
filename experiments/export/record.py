"""Compares an export's formats on pictures of any shape, each prepared by its own code from the file itself.

    python -m experiments.export.record <run folder of nas.export> <folder of pictures> <name of the record>

The reference is the network of `model.safetensors` (the command has compared it with the trained one) on the
test images of `nas.data.folder`. `timm` prepares pictures by `resolve_model_data_config`, `torch_export` and
`onnx` by the scripts under examples/. Writes results/<name>_pictures.csv and results/<name>_formats.csv.
"""

import copy
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import Tensor

import nas.formats.timm_models  # noqa: F401 (registers the models)
from experiments.records import as_csv
from nas.data.augment import BatchAugment
from nas.data.folder import ImageFolder
from nas.files import write_text
from nas.formats import load_safetensors, read_description
from nas.formats.catalogue import CONFIG, ONNX, PROGRAM, WEIGHTS
from nas.formats.onnx_model import load_onnx
from nas.formats.pictures import list_pictures
from nas.formats.program import load_program

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "examples"
# From a picture's file to the network's input, and on to its logits.
Pipeline = tuple[Callable[[Path], Tensor], Callable[[Tensor], Tensor]]


def test_images(pictures: list[Path], size: int) -> Iterator[Tensor]:
    """The pictures as an evaluation's test images [1, 3, H, W], each a class of its own."""
    with tempfile.TemporaryDirectory() as folder:
        for part in ("train", "val"):
            for index, path in enumerate(pictures):
                (place := Path(folder, part, f"{index:04}")).mkdir(parents=True)
                (place / path.name).symlink_to(path.absolute())
        source = ImageFolder(folder, size, len(pictures))
        normalise = BatchAugment(source.mean, source.std)
        for image_CHW, _ in source.test():
            yield normalise(image_CHW[None], train=False)


def pipelines(folder: Path) -> dict[str, Pipeline]:
    """Every format that the folder holds."""
    steps = read_description(folder / WEIGHTS).preprocessing.to_dict()
    result = {}
    if (folder / CONFIG).exists():
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        transform = create_transform(**resolve_model_data_config(model), is_training=False)
        # timm's readers convert before they transform.
        result["timm"] = (lambda path: transform(Image.open(path).convert("RGB"))[None], model)
    if (folder / PROGRAM).exists():
        prepare = runpy.run_path(str(EXAMPLES / "classify_exported.py"))["prepare"]
        result["torch_export"] = (lambda path: prepare(path, steps), load_program(folder / PROGRAM))
    if (folder / ONNX).exists():
        numpy_prepare = runpy.run_path(str(EXAMPLES / "classify_onnx.py"))["prepare"]
        result["onnx"] = (
            lambda path: torch.from_numpy(np.ascontiguousarray(numpy_prepare(path, steps))),
            load_onnx(folder / ONNX),
        )
    return result


def compare(folder: Path, pictures: list[Path]) -> list[dict]:
    """A row per picture and format: how inputs and logits differ, and whether both see the same class.

    `float32_error` is how far the reference itself is from the same network in float64.
    """
    network = load_safetensors(folder / WEIGHTS)
    size = read_description(folder / WEIGHTS).preprocessing.crop
    exact = copy.deepcopy(network).double()
    ways = pipelines(folder)
    rows = []
    for path, image_1CHW in zip(pictures, test_images(pictures, size), strict=True):
        with Image.open(path) as picture:
            width, height, mode = *picture.size, picture.mode
        expected_1K = network(image_1CHW)
        rounded = float((expected_1K - exact(image_1CHW.double())).abs().max())
        for name, (prepare, classify) in ways.items():
            prepared_1CHW = prepare(path)
            found_1K = classify(prepared_1CHW)
            rows.append(
                {
                    "picture": path.name,
                    "width": width,
                    "height": height,
                    "mode": mode,
                    "format": name,
                    "top1": int(expected_1K.argmax()),
                    "same_top1": int(found_1K.argmax() == expected_1K.argmax()),
                    "input_difference": float((prepared_1CHW - image_1CHW).abs().max()),
                    "largest_logit": float(expected_1K.abs().max()),
                    "logit_difference": float((found_1K - expected_1K).abs().max()),
                    "float32_error": rounded,
                }
            )
    return rows


def summed_up(rows: list[dict]) -> list[dict]:
    """A row per format: the largest differences, and on how many pictures the class is the same.

    `relative_difference` is what `nas.export` tolerates 1e-5 of: over the largest logit of all pictures.
    """
    table = []
    for name in dict.fromkeys(row["format"] for row in rows):
        mine = [row for row in rows if row["format"] == name]
        table.append(
            {
                "format": name,
                "pictures": len(mine),
                "same_top1": sum(row["same_top1"] for row in mine),
                "different_top1_classes": len({row["top1"] for row in mine}),
                "largest_input_difference": max(row["input_difference"] for row in mine),
                "largest_logit": (largest := max(row["largest_logit"] for row in mine)),
                "largest_logit_difference": (off := max(row["logit_difference"] for row in mine)),
                "relative_difference": off / largest,
                "largest_float32_error": max(row["float32_error"] for row in mine),
            }
        )
    return table


def write(path: Path, rows: list[dict]) -> None:
    """Rows as CSV, floats to three digits."""
    rounded = [{k: f"{v:.2e}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    write_text(path, as_csv(rounded), parents=True)


@torch.no_grad()
def main(folder: str, pictures: str, name: str) -> None:
    """Compares, writes and prints."""
    rows = compare(Path(folder), list_pictures(pictures))
    write(HERE / "results" / f"{name}_pictures.csv", rows)
    write(HERE / "results" / f"{name}_formats.csv", summed_up(rows))
    for row in summed_up(rows):
        print(row)


if __name__ == "__main__":
    main(*sys.argv[1:])
