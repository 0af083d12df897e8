"""A network as others use it: logits alone, no auxiliary head, and timm's interface.

The interface is that of timm 1.0's models ("feature extraction" in its documentation).

Shapes: B batch, C channels, H W space, K classes, F features.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from nas.errors import require
from nas.genotype import Genotype, from_dict, load

if TYPE_CHECKING:
    from timm.layers import SelectAdaptivePool2d

Levels = Sequence[tuple[int, int, str]]


class Classifier(nn.Module):
    """What all families share: `forward(images [B, C, H, W]) -> logits [B, K]`.

    A level is a resolution. Its feature map is the last one before the resolution is halved.

    Args:
        genotype: itself, its containers as read from JSON, or a published name, file or text.
        num_classes: K; 0 for features; None for the number of its usual data set.
        in_chans: channels of an image.
        drop_rate: dropout before the classifier, a probability.
        drop_path_rate: probability of dropping a path that is not an identity, the same at every depth.
        global_pool: timm's name of the pooling before the classifier.
        sizes: those of `construct`.

    Attributes:
        family: the name that its genotypes carry.
        imagenet: whether its usual size is that of ImageNet's pictures and classes, or else CIFAR-10's.
        classifier_name: where the last linear layer is.
        last_norm_name: where the norm of the last feature map is, if there is one.
        first_conv: where the convolution is that sees the image.
        num_classes: K; 0 without a classifier.
        num_features: channels of the last feature map.
        head_hidden_size: what the classifier takes.
        in_chans: channels of an image.
        stride: H and W must be multiples of it.
        single_row: whether it is of signals, [B, C, 1, L].
        drop_rate: probability of dropping a feature before the classifier, in training.
        feature_info: of each level `num_chs`, `reduction` and `module`, as timm lists them.
        global_pool: the pooling before the classifier.

    Raises:
        ConfigError: a probability is none, or the genotype is of another space.
    """

    family: str
    imagenet: bool = False
    classifier_name: str
    last_norm_name: str | None = None
    first_conv: str
    in_chans: int
    stride: int
    single_row: bool = False
    feature_info: list[dict[str, Any]]

    def __init__(
        self,
        genotype: Genotype | Mapping | str,
        num_classes: int | None = None,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
        **sizes: Any,
    ):
        if isinstance(genotype, Mapping):
            genotype = from_dict(genotype)
        elif not isinstance(genotype, Genotype):
            genotype = load(genotype, self.family)
        require(
            genotype.space == self.family,
            f"genotype: it belongs to space {genotype.space!r}, not {self.family!r}",
        )
        num_classes = (1000 if self.imagenet else 10) if num_classes is None else num_classes
        levels, stride = self.construct(genotype, in_chans, max(num_classes, 1), **sizes)
        require(0 <= drop_rate < 1, f"drop_rate={drop_rate}: must be at least 0 and below 1")
        require(0 <= drop_path_rate < 1, f"drop_path_rate={drop_path_rate}: must be at least 0 and below 1")
        self.in_chans = in_chans
        self.stride = stride
        self.feature_info = [
            {"num_chs": channels, "reduction": reduction, "module": module}
            for channels, reduction, module in levels
        ]
        self.num_features = levels[-1][0]
        self.drop_rate = drop_rate
        if num_classes == 0 or global_pool != "avg":
            self.reset_classifier(num_classes, global_pool)
        else:
            self.num_classes, self.head_hidden_size = num_classes, self.num_features
            self.global_pool = _pool(global_pool)
        self.set_drop_path(drop_path_rate)  # type: ignore[operator]  # that of the network

    @abstractmethod
    def construct(
        self, genotype: Genotype, in_chans: int, num_classes: int, *args: Any, **sizes: Any
    ) -> tuple[Levels, int]:
        """Builds the network; an argument after these three is a size.

        Returns:
            Of each level its channels, its reduction and its last module; and what H and W must be multiples
            of.
        """

    @classmethod
    def num_levels(cls, **sizes: Any) -> int:
        """How many levels a network of these sizes has; what is left out is as in `construct`."""
        return 3

    @abstractmethod
    def _levels(self, x_BCHW: Tensor) -> Iterator[Tensor]:
        """The feature map of each level, in order of computation."""

    def _finish(self, x_BCHW: Tensor) -> Tensor:
        """What comes between the last feature map and the pooling."""
        return x_BCHW

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        """Images [B, C, H, W] -> the map [B, F, H/stride, W/stride] that is pooled."""
        self._check(x_BCHW)
        for level_BCHW in self._levels(x_BCHW):
            last_BCHW = level_BCHW
        return self._finish(last_BCHW)

    def forward_head(self, x_BFHW: Tensor, pre_logits: bool = False) -> Tensor:
        """That map -> logits [B, K], or what the classifier would take of it."""
        x_BF = F.dropout(self.global_pool(x_BFHW), self.drop_rate, self.training)
        return x_BF if pre_logits else self.get_classifier()(x_BF)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images [B, C, H, W] -> logits [B, K]."""
        return self.forward_head(self.forward_features(x_BCHW))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Feature maps of levels, as timm's `features_only=True` gives them.

        Args:
            x: images [B, C, H, W].
            indices: the last n levels, these levels (negative from the end), or None for all.
            norm: of no effect: no level is normalised after the fact, as in timm's convolutional networks.
            stop_early: whether to end at the last level that is asked for.
            output_fmt: `NCHW` only.
            intermediates_only: whether to leave out the final map.

        Returns:
            (the final map, the levels' maps), or the maps alone.

        Raises:
            ConfigError: another layout is asked for, or the image size does not fit.
        """
        require(output_fmt == "NCHW", f"output_fmt={output_fmt}: these networks give NCHW only")
        self._check(x)
        taken, last = _taken(len(self.feature_info), indices)
        maps = []
        for level, map_BCHW in enumerate(self._levels(x)):
            maps.append(map_BCHW)
            if stop_early and level == last:
                break
        chosen = [maps[level] for level in taken]
        return chosen if intermediates_only else (self._finish(maps[-1]), chosen)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Removes what no level among `indices` needs; returns them counted from 0. timm calls this."""
        taken, last = _taken(len(self.feature_info), indices)
        blocks = self.feature_info[-1]["module"].split(".")[0]
        owner, _, index = self.feature_info[last]["module"].rpartition(".")
        # The first level of the ImageNet stem needs no cell.
        setattr(self, blocks, getattr(self, blocks)[: int(index) + 1 if owner == blocks else 0])
        if prune_norm and self.last_norm_name is not None:
            self._replace(self.last_norm_name, nn.Identity())
        if prune_head:
            self.reset_classifier(0, "")
        return taken

    def flatten_rows(self) -> None:
        """Says that its layers are those of signals now (`nas.spaces.signals`)."""
        self.single_row = True

    def _replace(self, name: str, module: nn.Module) -> None:
        owner, _, child = name.rpartition(".")
        setattr(self.get_submodule(owner), child, module)

    def _check(self, x_BCHW: Tensor) -> None:
        channels, height, width = x_BCHW.shape[1:]
        rows = height == 1 if self.single_row else height % self.stride == 0
        require(
            channels == self.in_chans and rows and width % self.stride == 0,
            f"images of shape [{channels}, {height}, {width}]: this network takes {self.in_chans} channels "
            + ("of a single row" if self.single_row else "and sides that are multiples of")
            + (f" whose length is a multiple of {self.stride}" if self.single_row else f" {self.stride}"),
        )

    def get_classifier(self) -> nn.Module:
        """The last linear layer; an identity without classes."""
        return self.get_submodule(self.classifier_name)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Puts a new classifier with new random weights in place of the old one.

        Args:
            num_classes: 0 for none: `forward` gives features.
            global_pool: timm's name of a pooling, `""` for none (0 classes only); None keeps it.

        Raises:
            ConfigError: maps that are not pooled are to be classified.
        """
        self.global_pool = _pool(self.global_pool.pool_type if global_pool is None else global_pool)
        require(
            num_classes == 0 or not self.global_pool.is_identity(),
            f"global_pool='': maps that are not pooled cannot be told into {num_classes} classes; set "
            "num_classes=0",
        )
        self.num_classes = num_classes
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        like = next(self.parameters())
        layer = nn.Linear(self.head_hidden_size, num_classes) if num_classes else nn.Identity()
        self._replace(self.classifier_name, layer.to(like.device, like.dtype))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Refuses: there is none."""
        require(not enable, "these networks have no gradient checkpointing")

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group parameters by depth, for layer-wise learning rates."""
        blocks = self.feature_info[-1]["module"].split(".")[0]
        return {"stem": r"^stem", "blocks": rf"^{blocks}\.(\d+)"}


def _pool(kind: str) -> "SelectAdaptivePool2d":
    # Not above: an evaluation says what its network is and needs none, and timm takes as long as torch.
    from timm.layers import SelectAdaptivePool2d

    # The plain mean is what the networks were trained with, to the last bit.
    pool = SelectAdaptivePool2d(pool_type="fast" if kind == "avg" else kind, flatten=bool(kind))
    pool.pool_type = kind
    return pool


def _taken(levels: int, indices: int | Sequence[int] | None) -> tuple[list[int], int]:
    """The levels that timm's `indices` names, counted from 0, and the last of them."""
    if indices is None or isinstance(indices, int):
        indices = range(-(levels if indices is None else indices), 0)
    known = all(-levels <= index < levels for index in indices)
    require(known and len(indices) > 0, f"out_indices={list(indices)}: this network has {levels} levels")
    taken = [index % levels for index in indices]
    return taken, max(taken)
