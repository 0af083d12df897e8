"""What many architectures cost, from the networks of a few: costs of cells add up edge by edge."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

from nas.errors import ConfigError
from nas.genotype import Genotype

Price = tuple[int, int]
Terms = dict[tuple, Fraction]


class EdgePrices:
    """Prices an architecture as a sum over its edges, exactly, in rational numbers.

    An edge's share depends on its operation, its cell, and on whether it starts at an input of the cell
    (there a reduction has its stride). The shares are not known one by one, and need not be: an architecture
    whose terms are a linear combination of those already priced costs the same combination. Only others are
    built: a few dozen of the 10^18 architectures of DARTS.

    That the costs of a space add up is an assumption; `check` tests it.

    Args:
        price: builds one network and counts (parameters, multiply-adds).

    Attributes:
        built: how many networks were built to find prices; checks do not count.
    """

    def __init__(self, price: Callable[[Genotype], Price]):
        self.price = price
        self.built = 0
        # In reduced row echelon form: no row holds the pivot of another.
        self._rows: dict[tuple, tuple[Terms, tuple[Fraction, Fraction]]] = {}

    def __call__(self, genotype: Genotype) -> Price:
        """Parameters and multiply-adds."""
        rest = terms_of(genotype)
        value = (Fraction(0), Fraction(0))
        for term in [term for term in rest if term in self._rows]:
            row, known = self._rows[term]
            factor = rest[term]
            _subtract(rest, row, factor)
            value = (value[0] + factor * known[0], value[1] + factor * known[1])
        if not rest:
            # A fraction left over would mean that the costs do not add up after all.
            if value[0].denominator == value[1].denominator == 1:
                return int(value[0]), int(value[1])
            return self._build(genotype)
        price = self._build(genotype)
        pivot, scale = next(iter(rest.items()))
        row = {term: weight / scale for term, weight in rest.items()}
        worth = ((price[0] - value[0]) / scale, (price[1] - value[1]) / scale)
        for other, (terms, known) in list(self._rows.items()):
            share = terms.get(pivot)
            if share:
                _subtract(terms, row, share)
                self._rows[other] = (terms, (known[0] - share * worth[0], known[1] - share * worth[1]))
        self._rows[pivot] = (row, worth)
        return price

    def check(self, genotype: Genotype) -> None:
        """Builds one network and compares.

        Raises:
            ConfigError: it costs something else than the sum over its edges.
        """
        summed, built = self(genotype), self.price(genotype)
        if summed != built:
            raise ConfigError(
                f"cost=edges: the costs of this space do not add up by edge ({genotype} costs {built[0]} "
                f"parameters and {built[1]} multiply-adds, its edges {summed[0]} and {summed[1]}); "
                "set cost=whole"
            )

    def _build(self, genotype: Genotype) -> Price:
        self.built += 1
        return self.price(genotype)


class WholePrices:
    """Prices every architecture by building its network, once.

    Args:
        price: builds one network and counts (parameters, multiply-adds).
    """

    def __init__(self, price: Callable[[Genotype], Price]):
        self.price = price
        self._known: dict[Genotype, Price] = {}

    @property
    def built(self) -> int:
        """How many networks were built."""
        return len(self._known)

    def __call__(self, genotype: Genotype) -> Price:
        """Parameters and multiply-adds."""
        if genotype not in self._known:
            self._known[genotype] = self.price(genotype)
        return self._known[genotype]

    def check(self, genotype: Genotype) -> None:
        """Nothing is assumed, so nothing is to be checked."""


def terms_of(genotype: Genotype) -> Terms:
    """What a cost may depend on, with multiplicity: one term per kind of edge, and the shape of the cells."""
    counts: Counter[tuple] = Counter()
    for name, cell in genotype.cells:
        counts[(name, len(cell.nodes), len(cell.output))] += 1
        counts.update((name, edge.operation, edge.source < cell.inputs) for _, edge in cell.edges)
    return {term: Fraction(count) for term, count in counts.items()}


def _subtract(terms: Terms, row: Terms, factor: Fraction) -> None:
    for term, weight in row.items():
        rest = terms.get(term, Fraction(0)) - factor * weight
        if rest:
            terms[term] = rest
        else:
            terms.pop(term, None)
