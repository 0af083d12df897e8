"""The recurrent space of DARTS (Liu et al. 2019, section 3.1.2): a cell for language models."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, require
from nas.genotype import Cell, Edge, Genotype, check_operations
from nas.spaces.architectures import ChosenEdges
from nas.spaces.recurrent.language_model import Dropouts, Sizes
from nas.spaces.recurrent.lstm import LSTM, LstmNetwork, is_lstm
from nas.spaces.recurrent.mix import SLOTS
from nas.spaces.recurrent.network import RecurrentNetwork
from nas.spaces.recurrent.supernet import RECURRENT, RecurrentSupernet
from nas.spaces.space import (
    ZERO,
    EdgeGroup,
    Space,
    TextInputs,
    check_names,
    check_sizes,
    edges_to_all,
    guards_of,
)

# In the order of alpha's columns in the authors' code.
OPERATIONS = (ZERO, *SLOTS)


class FreeCandidates:
    """Costs of candidates that have no matrices of their own; see `nas.methods.sparsity.GroupCosts`."""

    def share(self, alive_EO: Tensor) -> Tensor:
        """Raises `ConfigError`: there is nothing to weigh gamma by."""
        raise ConfigError(
            "method.adaptive: the candidates of space darts_rnn have no matrices of their own, so none costs "
            "more than another; set method.adaptive=none"
        )

    count = share

    @property
    def memory_EO(self) -> Tensor:
        """Raises `ConfigError`, as `share`."""
        return self.share(torch.zeros(()))

    @property
    def names_EO(self) -> list[list[str]]:
        """Raises `ConfigError`, as `share`."""
        return self.share(torch.zeros(())).tolist()

    def macs(self, alive_EO: Tensor) -> int:
        """0."""
        return 0


class RecurrentSpace(Space):
    """A recurrent cell of N nodes, each after the first state fed by every earlier one while it is searched.

    How the nodes are counted: `num_nodes` = 8 counts what has its own matrix and is searched for, as the
    authors' code does (STEPS). The paper, and those who retell it, count 12: the two inputs (word and
    previous output), the first state (their sum through tanh, which is given), these 8, and the output, their
    mean. In a genotype 0 is the first state and 1 to 8 are the nodes.

    Args:
        name: the space's name in run folders; genotypes carry the family name `darts_rnn`.
        operations: candidate operations of every edge, some or all of the paper's five.
        num_nodes: N; there are N (N + 1) / 2 edges.
        hidden_size: H, units of every state, of the supernet and, unless a recipe says otherwise, of the
            evaluation network.
        embedding_size: width of an embedded word, likewise; None for H.
        tied: whether embedding and decoder share their matrix.
        dropout_input: probability of dropping a unit of an embedded word; this and the next four likewise.
        dropout_hidden: the same of a state that a matrix of the cell multiplies.
        dropout_x: the same of an embedded word as the cell's input, after `dropout_input`.
        dropout_output: the same of the cell's output before the decoder.
        dropout_embed: probability of dropping a whole word.
        ar: weight of the mean square of the outputs, in the training of the supernet's weights.
        tar: weight of the mean square of their change from step to step, likewise.
        num_cells: the nodes under the name that other spaces have for what they count; in place of
            `num_nodes` unless None.
        init_channels: the units likewise; in place of `hidden_size` unless None.

    Attributes:
        recipe_sizes: the keys of a recipe that size this space's evaluation network.

    Raises:
        ConfigError: a size is not positive, a probability is none, or the operations are not the paper's.
    """

    family = "darts_rnn"
    domain = "text"
    recipe_sizes = ("hidden_size", "embedding_size")
    recipe_options = ("dropout_input", "dropout_hidden", "dropout_x", "dropout_output", "dropout_embed")
    reference = "tests.reference.recurrent.LiteralSupernet"
    network_reference = "tests.reference.recurrent.LiteralNetwork"
    single_paths = True

    def __init__(
        self,
        name: str,
        operations: Sequence[str] = OPERATIONS,
        num_nodes: int = 8,
        hidden_size: int = 300,
        embedding_size: int | None = None,
        tied: bool = True,
        dropout_input: float = 0.2,
        dropout_hidden: float = 0.25,
        dropout_x: float = 0.75,
        dropout_output: float = 0.75,
        dropout_embed: float = 0.0,
        ar: float = 0.0,
        tar: float = 1e-3,
        num_cells: int | None = None,
        init_channels: int | None = None,
    ):
        num_nodes = num_nodes if num_cells is None else num_cells
        hidden_size = hidden_size if init_channels is None else init_channels
        check_sizes("space", num_nodes=num_nodes, hidden_size=hidden_size)
        check_names(operations, OPERATIONS)
        require(
            set(operations) != {ZERO},
            f"space.operations: {ZERO} alone leaves nothing that a cell could be made of; add one of "
            f"{', '.join(SLOTS)}",
        )
        self.name = name
        self.num_nodes = num_nodes
        self.hidden_size = hidden_size
        self.embedding_size = embedding_size
        self.tied = tied
        self.ar = ar
        self.tar = tar
        self.dropouts = Dropouts(dropout_input, dropout_hidden, dropout_x, dropout_output, dropout_embed)
        # In the order of alpha's rows in the authors' code: node 1 from 0; node 2 from 0, 1; and so on.
        edges = edges_to_all(1, num_nodes)
        group = EdgeGroup(edges, (tuple(operations),) * len(edges), guards_of(edges))
        self.groups: dict[str, EdgeGroup] = {RECURRENT: group}

    def supernet(
        self,
        inputs: TextInputs,
        partial: int | None = None,
        kept: Mapping[str, Tensor] | None = None,
        separate: bool = False,
    ) -> RecurrentSupernet:
        """The network that holds every candidate, for a text of so many different words.

        Args:
            inputs: the size of the vocabulary.
            partial: 1 or None; a recurrent cell has no channels to lead past its candidates.
            kept: {"recurrent": [E, O], true where a candidate is to be held}; None for all.
            separate: means nothing here: candidates have no parameters, and one with weight 0 adds nothing.

        Raises:
            ConfigError: `partial` is more than 1.
        """
        require(
            partial in (None, 1),
            f"space.partial={partial}: a recurrent cell has no channels to lead past its candidates; leave "
            "K at 1",
        )
        sizes = Sizes(inputs.vocabulary, self.hidden_size, self.dropouts, self.embedding_size, self.tied)
        return RecurrentSupernet(sizes, self.groups, self.num_nodes, kept)

    def costs(self, inputs: TextInputs) -> dict[str, "FreeCandidates"]:
        """What candidates cost: nothing, as a node's matrix serves all of them."""
        return {RECURRENT: FreeCandidates()}

    def architectures(self) -> ChosenEdges:
        """Its architectures as codes; see `Space.architectures`."""
        return ChosenEdges(self.groups, self.derive, 1)

    def derive(self, scores: Mapping[str, Tensor]) -> Genotype:
        """Keeps of every node its one strongest predecessor, and of that edge its strongest operation.

        An edge is as strong as its strongest operation other than `none`; ties go to the lower predecessor
        and then to the lower column. The output is the mean of all nodes.
        """
        group = self.groups[RECURRENT]
        strongest: dict[int, tuple[float, Edge]] = {}
        # Rows of a node come in the order of its predecessors, so that the first of equals stays.
        for (source, target), names, row in zip(
            group.edges, group.operations, scores[RECURRENT].detach().tolist(), strict=True
        ):
            column = max((c for c, name in enumerate(names) if name != ZERO), key=row.__getitem__)
            if target not in strongest or row[column] > strongest[target][0]:
                strongest[target] = row[column], Edge(source, names[column])
        nodes = tuple((strongest[target][1],) for target in range(1, self.num_nodes + 1))
        cell = Cell(nodes, tuple(range(1, self.num_nodes + 1)), inputs=1)
        return Genotype(self.family, ((RECURRENT, cell),))

    def network(
        self,
        genotype: Genotype,
        inputs: TextInputs,
        hidden_size: int | None = None,
        embedding_size: int | None = None,
        dropout_input: float | None = None,
        dropout_hidden: float | None = None,
        dropout_x: float | None = None,
        dropout_output: float | None = None,
        dropout_embed: float | None = None,
    ) -> nn.Module:
        """The evaluation network for a text of so many different words; what is None is the space's own.

        The genotype may have any number of nodes, as ENAS's has 11, or be the baseline `LSTM`. Where
        `hidden_size` is given, `embedding_size` follows it unless it is given too.

        Raises:
            ConfigError: the genotype is of another space, or a size does not fit.
        """
        self.check_genotype(genotype, RECURRENT)
        cell = genotype[RECURRENT]
        check_operations(genotype, (LSTM,) if is_lstm(cell) else SLOTS)
        require(
            cell.inputs == 1 and all(len(edges) == 1 for edges in cell.nodes),
            "genotype: a recurrent cell has one input, and every node one predecessor",
        )
        if hidden_size is None:
            hidden_size = self.hidden_size
            embedding_size = self.embedding_size if embedding_size is None else embedding_size
        typed = {
            "input": dropout_input,
            "hidden": dropout_hidden,
            "x": dropout_x,
            "output": dropout_output,
            "embed": dropout_embed,
        }
        dropouts = replace(self.dropouts, **{key: value for key, value in typed.items() if value is not None})
        sizes = Sizes(inputs.vocabulary, hidden_size, dropouts, embedding_size, self.tied)
        return LstmNetwork(sizes) if is_lstm(cell) else RecurrentNetwork(sizes, genotype)
