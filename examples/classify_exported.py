"""Classifies pictures with an exported program: torch, torchvision and pillow, nothing of this project.

python examples/classify_exported.py <folder of the export>/model.pt2 picture.jpg [more.jpg ...]
"""

import json
import sys

import torch
from PIL import Image, ImageOps
from torchvision.transforms import v2


def decode(path, steps):
    """A picture in the network's colours; upright and on a ground where it was trained so."""
    picture = ImageOps.exif_transpose(Image.open(path)) if steps.get("exif") else Image.open(path)
    if steps.get("background") and picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, steps["background"])
        picture = Image.alpha_composite(ground, picture.convert("RGBA"))
    return picture.convert(steps["color"])


def prepare(path, steps):
    """A picture as the network takes it, float32 [1, C, H, W]."""
    cut = v2.Compose([v2.Resize(steps["resize"]), v2.CenterCrop(steps["crop"]), v2.PILToTensor()])
    picture = decode(path, steps)
    pixels = cut(picture).float() / steps["scale"]
    return v2.functional.normalize(pixels, steps["mean"], steps["std"])[None]


if __name__ == "__main__":
    files = {"network.json": ""}
    classify = torch.export.load(sys.argv[1], extra_files=files).module()
    network = json.loads(files["network.json"])
    names = network["class_names"] or range(network["num_classes"])
    for path in sys.argv[2:]:
        with torch.no_grad():
            shares = classify(prepare(path, network["preprocessing"]))[0].softmax(dim=0)
        best = shares.argsort(descending=True)[:3].tolist()
        print(path, *(f"{names[index]} {shares[index]:.1%}" for index in best), sep="\t")
