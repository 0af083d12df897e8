"""Plain models at the budget of what was searched: as many parameters, epochs and batches, the same rates.

Shapes: N images, B batch, C channels, H W space; of a text T steps, V words.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

Labelled = tuple[np.ndarray, np.ndarray]
State = tuple[Tensor, Tensor]
END = "<eos>"


def logistic_regression(train: Labelled, test: Labelled) -> float:
    """Test accuracy of a logistic regression on standardised values."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(train[0].reshape(len(train[0]), -1), train[1])
    return float(model.score(test[0].reshape(len(test[0]), -1), test[1]))


class Block(nn.Module):
    """A basic residual block (He et al. 2016), of pictures or, with flat kernels, of signals."""

    def __init__(self, c_in: int, c_out: int, stride: int, flat: bool):
        super().__init__()
        kernel, step, padding = _shape(stride, flat)
        self.body = nn.Sequential(
            nn.Conv2d(c_in, c_out, kernel, step, padding, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(),
            nn.Conv2d(c_out, c_out, kernel, 1, padding, bias=False), nn.BatchNorm2d(c_out),
        )  # fmt: skip
        self.shortcut = (
            nn.Identity()
            if c_in == c_out and stride == 1
            else nn.Sequential(nn.Conv2d(c_in, c_out, 1, step, bias=False), nn.BatchNorm2d(c_out))
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        return F.relu(self.body(x_BCHW) + self.shortcut(x_BCHW))


def resnet(channels: int, width: int, classes: int, flat: bool) -> nn.Sequential:
    """A stem and three blocks of one, two and four widths."""
    kernel, _, padding = _shape(1, flat)
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, 1, padding, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        Block(width, width, 1, flat), Block(width, 2 * width, 2, flat), Block(2 * width, 4 * width, 2, flat),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes),
    )  # fmt: skip


def _shape(stride: int, flat: bool) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    return ((1, 3), (1, stride), (0, 1)) if flat else ((3, 3), (stride, stride), (1, 1))


def params(network: nn.Module) -> int:
    """How many parameters it has."""
    return sum(one.numel() for one in network.parameters())


def of_size(build: Callable[[int], nn.Module], wanted: int) -> nn.Module:
    """The network whose number of parameters is nearest to the wanted one, by its width."""
    sizes = {width: params(build(width)) for width in range(2, 129)}
    return build(min(sizes, key=lambda width: abs(sizes[width] - wanted)))


def train_resnet(train: Labelled, test: Labelled, wanted: int, epochs: int, batch: int, seed: int) -> float:
    """Test accuracy of the small ResNet, trained as the recipes of own data train.

    Args:
        train: float images [N, C, H, W] and classes [N].
        test: the same of the test part.
        wanted: parameters, about.
        epochs: passes over the training images.
        batch: images a step.
        seed: of weights and order.
    """
    torch.manual_seed(seed)
    mean, std = (getattr(train[0], name)((0, 2, 3), keepdims=True) for name in ("mean", "std"))
    x, held = (torch.from_numpy((one[0] - mean) / std).float() for one in (train, test))
    names, labels = np.unique(train[1], return_inverse=True)
    y = torch.from_numpy(labels)
    flat = x.shape[2] == 1
    network = of_size(lambda width: resnet(x.shape[1], width, len(names), flat), wanted)
    optimizer = torch.optim.SGD(network.parameters(), 0.025, momentum=0.9, weight_decay=3e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for chosen in torch.randperm(len(x)).split(batch):
            if len(chosen) < batch:
                continue
            optimizer.zero_grad()
            F.cross_entropy(network(x[chosen]), y[chosen]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
        schedule.step()
    with torch.no_grad():
        said = network.eval()(held).argmax(1).numpy()
    return float((names[said] == test[1]).mean())


def words(file: Path) -> list[str]:
    """The words of a text, each line ended."""
    return [word for line in file.read_text(encoding="utf-8").splitlines() for word in (*line.split(), END)]


def bigram_perplexity(folder: Path) -> float:
    """Test perplexity of pairs of words, mixed with words alone by the weight that is best on valid.txt."""
    train = words(folder / "train.txt")
    single, pairs, vocabulary = Counter(train), Counter(pairwise(train)), len(set(train))

    def loss(text: Sequence[str], weight: float) -> float:
        total = 0.0
        for before, word in pairwise(text):
            alone = (single[word] + 1) / (len(train) + vocabulary + 1)
            pair = pairs[before, word] / single[before] if single[before] else alone
            total -= math.log(weight * pair + (1 - weight) * alone)
        return total / (len(text) - 1)

    valid, test = words(folder / "valid.txt"), words(folder / "test.txt")
    weight = min((step / 20 for step in range(20)), key=lambda one: loss(valid, one))
    return math.exp(loss(test, weight))


class Lstm(nn.Module):
    """One LSTM of torch's between an embedding and a decoder that share their matrix."""

    def __init__(self, vocabulary: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.rnn = nn.LSTM(width, width)
        self.decoder = nn.Linear(width, vocabulary)
        self.decoder.weight = self.embedding.weight
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)

    def forward(self, x_TB: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Words [T, B] -> logits [T, B, V] and the state after them."""
        h_TBC, state = self.rnn(F.dropout(self.embedding(x_TB), 0.4, self.training), state)
        return self.decoder(F.dropout(h_TBC, 0.4, self.training)), state


def train_lstm(folder: Path, wanted: int, epochs: int, batch: int, seed: int) -> float:
    """Test perplexity of an LSTM of as many parameters, by SGD at a rate of 20 and a clip of 0.25."""
    torch.manual_seed(seed)
    index: dict[str, int] = {}
    streams = {}
    for name in ("train", "valid", "test"):
        text = words(folder / f"{name}.txt")
        if name == "train":
            index = {word: number for number, word in enumerate(dict.fromkeys(text))}
        streams[name] = torch.tensor([index.get(word, index.get("<unk>", 0)) for word in text])
    network = of_size(lambda width: Lstm(len(index), 4 * width), wanted)
    optimizer = torch.optim.SGD(network.parameters(), 20.0)
    columns = streams["train"][: len(streams["train"]) // batch * batch].view(batch, -1).t()
    best, kept = math.inf, network.state_dict()
    for _ in range(epochs):
        state = None
        for start in range(0, len(columns) - 1, 35):
            x, y = columns[start : start + 35], columns[start + 1 : start + 36]
            optimizer.zero_grad()
            logits, state = network(x[: len(y)], state)
            state = (state[0].detach(), state[1].detach())
            F.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.25)
            optimizer.step()
        valid = _perplexity(network, streams["valid"])
        if valid < best:
            best, kept = valid, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return _perplexity(network, streams["test"])


def _perplexity(network: Lstm, stream: Tensor) -> float:
    network.eval()
    with torch.no_grad():
        total, state = 0.0, None
        for start in range(0, len(stream) - 1, 512):
            x, y = stream[start : start + 512], stream[start + 1 : start + 513]
            logits, state = network(x[: len(y), None], state)
            total += float(F.cross_entropy(logits[:, 0], y, reduction="sum"))
    network.train()
    return math.exp(total / (len(stream) - 1))
