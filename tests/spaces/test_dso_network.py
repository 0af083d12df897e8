"""The evaluation network of DSO-NAS: the supernet without factors, drop-path, heads, what does not fit."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas.analysis.cost.complexity import count_cost
from nas.errors import ConfigError
from nas.genotype import Cell, Genotype, parse
from nas.spaces.dso.network import DsoNetwork, EvaluationBlock, EvaluationReduction
from nas.spaces.dso.space import DsoSpace
from nas.spaces.modules import DropPath
from nas.spaces.space import ImageInputs

DEAD = Cell(((),) * 4, (0,), 1)
BLOCK = "block:4[1=sep_conv_3x3(0) 2=max_pool_3x3(0) 3=sep_conv_5x5(0,1,2) 4=avg_pool_3x3(1)]>2,3,4"
REDUCTIONS = "reduce_1:2[1=conv_1x1(0) 2=conv_3x3(0)]>1,2; reduce_2:2[2=conv_3x3(0)]>2"
SHARED = parse(f"DSO({BLOCK}; {REDUCTIONS})")


def network(genotype=SHARED, blocks=(2, 1, 1), image=(3, 16, 16), stem="cifar", auxiliary=False, **sizes):
    torch.manual_seed(0)
    return DsoNetwork(genotype, image, 5, blocks, sizes.pop("channels", 4), stem, auxiliary, **sizes)


def images(size=16, batch=3):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


# --- what it computes ---


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("share", [True, False])
def test_it_is_the_supernet_with_factors_of_one_and_zero(share, train):
    """Same weights, scales of 1: what was found computes what the search computed, but for the factors."""
    space = DsoSpace("dso", levels=2, blocks_per_stage=(2, 1), init_channels=4, share=share)
    generator = torch.Generator().manual_seed(3)
    scores = {
        name: (torch.rand(group.shape, generator=generator) < 0.4).double()
        for name, group in space.groups.items()
    }
    genotype = space.derive(scores)
    scores = {
        name: alive.double() for name, alive in space.clean({n: s > 0 for n, s in scores.items()}).items()
    }
    assert any(scores[name].any() for name in scores if name.startswith("block"))
    torch.manual_seed(0)
    supernet = space.supernet(ImageInputs((3, 8, 8), 5)).double()
    found = DsoNetwork(genotype, (3, 8, 8), 5, (2, 1), 4, "cifar", auxiliary=False).double()
    copy_weights(supernet, found)
    x_BCHW = images(8).double()
    logits_BK, none = found.train(train)(x_BCHW)
    expected_BK = supernet.train(train)(x_BCHW, scores)
    assert none is None
    torch.testing.assert_close(logits_BK, expected_BK, rtol=1e-10, atol=1e-12)


def with_scale(state):
    """A layer's tensors, with the scale of 1 that is fixed in a search and learns in an evaluation."""
    return state | {"norm.weight": torch.ones_like(state["norm.bias"])} if state else state


def copy_weights(supernet, found):
    """The supernet's weights in the network, where the 1x1 convolutions of a block are one."""
    state = supernet.state_dict()
    for index, block in enumerate(found.blocks):
        if isinstance(block, EvaluationReduction):
            for branch in block.branches:
                name = f"conv_{branch.conv.kernel_size[0]}x{branch.conv.kernel_size[1]}"
                branch.load_state_dict(with_scale(inner(state, f"blocks.{index}.branches.{name}.")))
            continue
        shortcut = with_scale(inner(state, f"blocks.{index}.shortcut."))
        load = {f"shortcut.{k}": v for k, v in shortcut.items()}
        for node in block.operations:
            of_node = with_scale(inner(state, f"blocks.{index}.operations.{node}."))
            load |= {f"operations.{node}.{k}": v for k, v in of_node.items()}
        if block.branches:
            convs = [state[f"blocks.{index}.outputs.{node}.weight"] for node in block.branches]
            load["output.conv.weight"] = torch.cat(convs, dim=1)
            load |= {f"output.norm.{k}": v for k, v in inner(state, f"blocks.{index}.norm.").items()}
        block.load_state_dict(load)
    found.stem.load_state_dict(inner(state, "stem."))
    found.head.load_state_dict(inner(state, "head."))


def inner(state, prefix):
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def test_a_block_written_out():
    block = EvaluationBlock("block", SHARED["block"], channels=4, first=False)
    x_BCHW = torch.randn(2, 4, 6, 6)
    run = {int(node): operation for node, operation in block.operations.items()}
    h1 = run[1](x_BCHW)
    h2 = run[2](x_BCHW)
    h3 = run[3](x_BCHW + h1 + h2)
    h4 = run[4](h1)
    branches = F.conv2d(torch.cat([h2, h3, h4], dim=1), block.output.conv.weight)
    expected = F.relu(block.output.norm(branches)) + x_BCHW
    torch.testing.assert_close(block(x_BCHW), expected)


@pytest.mark.parametrize("first", [True, False])
def test_a_dead_block_is_its_shortcut(first):
    block = EvaluationBlock("block", DEAD, channels=4, first=first)
    x_BCHW = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x_BCHW), block.shortcut(x_BCHW))
    assert torch.equal(block(x_BCHW), x_BCHW) is not first
    assert (sum(p.numel() for p in block.parameters()) > 0) is first


def test_what_leads_nowhere_is_not_built():
    cell = parse("DSO(block:3[1=sep_conv_3x3(0) 2=sep_conv_5x5(0) 3=max_pool_3x3(1)]>1)")["block"]
    assert list(EvaluationBlock("block", cell, 4, first=False).operations) == ["1"]


def test_every_scale_learns_and_there_is_no_factor():
    shapes = {name: p.shape for name, p in network(auxiliary=True, image=(3, 32, 32)).named_parameters()}
    norms = {name.rpartition(".")[0] for name in shapes if name.endswith("norm.bias")}
    assert norms and all(f"{norm}.weight" in shapes for norm in norms)
    assert all(shape.numel() >= 4 for shape in shapes.values())


def test_initial_weights_are_the_authors():
    found = network(channels=32)
    conv = found.blocks[0].output.conv.weight
    assert conv.std().item() == pytest.approx((2 / 32) ** 0.5, rel=0.05)
    assert found.head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not found.head.classifier.bias.any()


# --- blocks and stages ---


def test_one_block_for_all_or_one_for_each():
    full = {f"block_{number:02}": SHARED["block"] if number != 2 else DEAD for number in range(1, 5)}
    reductions = {name: SHARED[name] for name in ("reduce_1", "reduce_2")}
    shared, separate = network(), network(Genotype("dso", full | reductions))
    kinds = [type(block).__name__ for block in shared.blocks]
    assert kinds == [type(block).__name__ for block in separate.blocks]
    assert [kind for kind in kinds if "Reduction" in kind] == ["EvaluationReduction"] * 2
    assert kinds[2] == kinds[4] == "EvaluationReduction"
    assert [block.output is None for block in separate.blocks if isinstance(block, EvaluationBlock)] == [
        False, True, False, False,
    ]  # fmt: skip
    firsts = [isinstance(b.shortcut, nn.Identity) for b in shared.blocks if isinstance(b, EvaluationBlock)]
    assert firsts == [False, True, False, False]
    assert separate.eval()(images())[0].shape == (3, 5)


def test_a_shared_block_goes_into_another_number_of_stages():
    """CIFAR-10's block on ImageNet: the third reduction is as the second."""
    found = network(blocks=(1, 1, 2, 1), image=(3, 64, 64), stem="imagenet")
    branches = [len(block.branches) for block in found.blocks if isinstance(block, EvaluationReduction)]
    assert branches == [2, 1, 1]
    assert found.eval()(images(64))[0].shape == (3, 5)
    assert network(blocks=(2,)).eval()(images())[0].shape == (3, 5)


def test_odd_images_fit():
    assert network().eval()(images(13))[0].shape == (3, 5)


# --- regularisation ---


def paths(block):
    return [module for module in block.modules() if isinstance(module, DropPath)]


def test_drop_path_falls_linearly_from_the_last_block_to_the_first():
    found = network()
    found.set_drop_path(0.5)
    blocks = [block for block in found.blocks if isinstance(block, EvaluationBlock)]
    for block, rate in zip(blocks, [0.125, 0.25, 0.375, 0.5], strict=True):
        assert {path.drop_prob for path in paths(block)} == {rate}
    found.set_drop_path(0.0)
    assert {path.drop_prob for path in paths(found)} == {0.0}


def test_paths_are_the_connections_into_sums_and_the_branches():
    block = EvaluationBlock("block", SHARED["block"], channels=4, first=False)
    assert {node: len(found) for node, found in block.input_paths.items()} == {"3": 3}
    assert len(block.branch_paths) == 3 and len(paths(block)) == 6
    assert not paths(EvaluationReduction("reduce_1", SHARED["reduce_1"], 4))


def test_a_block_whose_branches_are_all_dropped_passes_its_shortcut():
    block = EvaluationBlock("block", parse("DSO(block:1[1=max_pool_3x3(0)]>1)")["block"], 4, first=False)
    paths(block)[0].drop_prob = 1 - 1e-7
    x_BCHW = torch.randn(4, 4, 6, 6)
    assert torch.equal(block(x_BCHW), x_BCHW)
    assert not torch.equal(block.eval()(x_BCHW), x_BCHW)


def test_dropout_acts_before_the_classifier_and_in_training_only():
    found = network(dropout=0.5)
    seen = []
    found.head.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for train in (True, False):
        found.train(train)(images(batch=64))
    dropped = [(features_BC == 0).float().mean().item() for features_BC in seen]
    assert dropped[0] == pytest.approx(0.5, abs=0.05) and dropped[1] < 0.2


# --- the auxiliary head ---


@pytest.mark.parametrize(
    ("blocks", "image", "stem", "position"),
    [((2, 1, 1), 32, "cifar", 4), ((1, 1, 1, 1), 224, "imagenet", 5)],
)
def test_the_auxiliary_head_follows_the_last_reduction(blocks, image, stem, position):
    found = network(blocks=blocks, image=(3, image, image), stem=stem, auxiliary=True)
    assert found.auxiliary_position == position
    assert isinstance(found.blocks[position], EvaluationReduction)
    logits_BK, auxiliary_BK = found.train()(images(image, batch=2))
    assert logits_BK.shape == auxiliary_BK.shape == (2, 5)
    (logits_BK.sum() + auxiliary_BK.sum()).backward()
    assert all(p.grad is not None for p in found.parameters())
    assert found.eval()(images(image, batch=2))[1] is None


def test_the_cost_counts_the_auxiliary_head_apart():
    def build(auxiliary):
        return count_cost(lambda: network(image=(3, 32, 32), auxiliary=auxiliary), (3, 32, 32))

    plain, more = build(False), build(True)
    assert (plain.params, plain.macs) == (more.params, more.macs)
    # BN of 16 channels, 16 -> 128, its BN, 2x2 128 -> 768, its BN, 768 -> 5.
    assert more.params_auxiliary == 32 + 2048 + 256 + 393_216 + 1536 + 768 * 5 + 5
    assert plain.params_auxiliary == 0


def test_multiply_adds_by_hand():
    """One block of one stage on 8x8 pixels."""
    genotype = parse("DSO(block:2[1=sep_conv_3x3(0) 2=max_pool_3x3(0,1)]>1,2)")
    cost = count_cost(lambda: network(genotype, blocks=(1,), image=(3, 8, 8)), (3, 8, 8))
    stem, shortcut, separable, output, classifier = 27 * 4, 16, 9 * 4 + 16, 2 * 16, 4 * 5
    assert cost.macs == 64 * (stem + shortcut + separable + output) + classifier
    assert [name for name, *_ in cost.parts] == ["stem", "blocks.0", "head"]


# --- what does not fit ---

FOUR = "; ".join(BLOCK.replace("block", f"block_{number:02}") for number in range(1, 5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"DSO({FOUR}; {REDUCTIONS.split(';')[0]})", "has 1 reductions, but .* needs 2"),
        (f"DSO({FOUR.rpartition(';')[0]}; {REDUCTIONS})", r"blocks_per_stage=\[2, 1, 1\] needs 4"),
        (f"DSO({REDUCTIONS})", "its blocks are none"),
        (f"DSO({BLOCK}; {FOUR}; {REDUCTIONS})", "its blocks are block, block_01"),
        (f"DSO({BLOCK})", "no cell reduce_1"),
        (f"DSO({BLOCK}; reduce_2:1[1=conv_1x1(0)]>1)", "its reductions are"),
        (f"DSO({BLOCK}; reduce_1:2[]>0)", "reduce_1 is no reduction.*at least one"),
        (f"DSO({BLOCK}; reduce_1:2[1=conv_1x1(0) 2=conv_3x3(1)]>2)", "reduce_1 is no reduction"),
        (f"DSO({BLOCK}; reduce_1:1[1=conv_7x7(0)]>1)", "unknown reduction 'conv_7x7'"),
        (f"DSO(block:1[1=dil_conv_3x3(0)]>1; {REDUCTIONS})", "unknown operation .*dil_conv_3x3.*in node 1"),
        (f"DSO(block:1[1=sep_conv_3x3(0)+max_pool_3x3(0)]>1; {REDUCTIONS})", "is one operation"),
        (f"DSO(block:1[1=sep_conv_3x3(0,0)]>1; {REDUCTIONS})", "takes an input twice"),
        (f"DSO(block:2[2=sep_conv_3x3(0,1)]>2; {REDUCTIONS})", "input from node 1, which is dead"),
        (f"DSO(block:2[2=sep_conv_3x3(0)]>1,2; {REDUCTIONS})", r"output \[1, 2\] of block"),
        (f"DSO(block:2[2=sep_conv_3x3(0)]>0,2; {REDUCTIONS})", r"output \[0, 2\] of block"),
        (f"DSO(block:2+1[2=sep_conv_3x3(0)]>2; {REDUCTIONS})", "has 2 inputs"),
        ("|nor_conv_3x3~0|", "space 'nasbench201'"),
    ],
)
def test_a_genotype_that_makes_no_network_is_refused_in_words(text, message):
    with pytest.raises(ConfigError, match=f"genotype: .*{message}"):
        network(parse(text))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"dropout": 1.0}, r"recipe\.dropout=1\.0"),
        ({"blocks": (2, 0, 1)}, r"recipe\.blocks_per_stage"),
        ({"channels": 0}, r"recipe\.init_channels=0"),
        ({"channels": 5, "stem": "imagenet"}, r"recipe\.init_channels=5"),
        ({"stem": "mnist"}, r"recipe\.stem=mnist"),
        ({"auxiliary": True}, "at least 8 pixels a side, these are 4x4; set recipe.auxiliary_weight=0"),
        ({"auxiliary": True, "blocks": (2,)}, "has a single stage; set recipe.auxiliary_weight=0"),
    ],
)
def test_a_size_that_makes_no_network_is_refused_in_words(sizes, message):
    with pytest.raises(ConfigError, match=message):
        network(**sizes)
