"""Where a tensor of the literal supernet lives in the fast one: same numbers, other containers."""

import re

import torch

STEM = {"stem.0.weight": "stem.conv.weight"} | {
    f"stem.1.{n}": f"stem.bn.{n}"
    for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
}


def tensors_of(supernet):
    return dict(supernet.named_parameters()) | dict(supernet.named_buffers())


def locate(supernet, name, tensors):
    """(tensor of the fast supernet, index into its first dimension or None) for a literal name; None if it
    has none.

    The fast supernet keeps one BN for all edges of a source that pool alike, and no counter of batches.
    """
    if name in STEM:
        return tensors[STEM[name]], None
    if name.startswith("classifier."):
        return tensors[name], None
    cell_index, rest = re.fullmatch(r"cells\.(\d+)\.(.*)", name).groups()
    if rest.startswith("preprocess"):
        return tensors[f"cells.{cell_index}.{rest.replace('.op.', '.')}"], None
    edge, column, leaf = re.fullmatch(r"_ops\.(\d+)\._ops\.(\d+)\.(.*)", rest).groups()
    if leaf.endswith("num_batches_tracked"):
        return None
    group = supernet.groups[supernet.kinds[int(cell_index)]]
    source = group.edges[int(edge)][0]
    rows = [row for row, (s, _) in enumerate(group.edges) if s == source]
    operation = group.operations[int(edge)][int(column)]
    fan_out = supernet.cells[int(cell_index)].fan_out[str(source)]
    module = fan_out.candidates[operation]
    position = fan_out.holders[operation].index(rows.index(int(edge)))
    part, attribute = leaf.rsplit(".", 1)
    if "pool" in operation:
        return getattr(module.norm, attribute), 0
    if part.startswith("op."):
        step, place = divmod(int(part[3:]), 4)
        stack = {1: "depthwise", 2: "pointwise", 3: "norm"}[place]
        return getattr(getattr(module, stack)[step], attribute), position
    owner = {"conv_1": "conv_1", "conv_2": "conv_2", "bn": "norm"}[part]
    return getattr(getattr(module, owner), attribute), position


def load_literal(supernet, state):
    """Copies a literal state dict (name -> tensor) into the fast supernet."""
    tensors = tensors_of(supernet)
    with torch.no_grad():
        for name, value in state.items():
            place = locate(supernet, name, tensors)
            if place is not None:
                tensor, index = place
                (tensor if index is None else tensor[index]).copy_(value)


def literal_view(supernet, names, attribute=None):
    """The fast supernet's tensors (or their `.grad`) under literal names."""
    found, tensors = {}, tensors_of(supernet)
    for name in names:
        place = locate(supernet, name, tensors)
        if place is None:
            continue
        tensor, index = place
        tensor = getattr(tensor, attribute) if attribute else tensor
        found[name] = tensor if index is None else tensor[index]
    return found
