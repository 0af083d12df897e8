"""Classifies pictures with an exported ONNX model: onnxruntime, numpy and pillow, nothing of this project.

python examples/classify_onnx.py <folder of the export>/model.onnx picture.jpg [more.jpg ...]
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def decode(path, steps):
    """A picture in the network's colours; upright and on a ground where it was trained so."""
    picture = ImageOps.exif_transpose(Image.open(path)) if steps.get("exif") else Image.open(path)
    if steps.get("background") and picture.has_transparency_data:
        ground = Image.new("RGBA", picture.size, steps["background"])
        picture = Image.alpha_composite(ground, picture.convert("RGBA"))
    return picture.convert(steps["color"])


def prepare(path, steps):
    """A picture as the network takes it, float32 [1, C, H, W]."""
    picture = decode(path, steps)
    resize, crop = steps["resize"], steps["crop"]  # the shorter side and a square, or [rows, columns] each
    if isinstance(resize, int):
        resize = [resize * side // min(picture.size) for side in picture.size[::-1]]
    height, width = [crop, crop] if isinstance(crop, int) else crop
    picture = picture.resize(resize[::-1], Image.BILINEAR)
    left, top = round((picture.width - width) / 2), round((picture.height - height) / 2)
    pixels = np.asarray(picture.crop((left, top, left + width, top + height)), np.float32) / steps["scale"]
    pixels = (pixels.reshape(height, width, -1) - np.float32(steps["mean"])) / np.float32(steps["std"])
    return pixels.transpose(2, 0, 1)[None]


if __name__ == "__main__":
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    network = json.loads(session.get_modelmeta().custom_metadata_map["network"])
    names = network["class_names"] or range(network["num_classes"])
    for path in sys.argv[2:]:
        logits = session.run(["logits"], {"images": prepare(path, network["preprocessing"])})[0][0]
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        best = shares.argsort()[::-1][:3]
        print(path, *(f"{names[index]} {shares[index]:.1%}" for index in best), sep="\t")
