"""Trained networks in the forms that others read: safetensors, timm, torch.export, ONNX."""

from nas.formats.weights import load_safetensors, read_description

__all__ = ["load_safetensors", "read_description"]
