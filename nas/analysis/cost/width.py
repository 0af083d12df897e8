"""The width at which a network meets a budget: how a cell is scaled up once it has been found."""

from collections.abc import Callable, Sequence
from typing import Any

from nas.analysis.cost.complexity import Cost
from nas.errors import ConfigError, require

# No network of any paper is a tenth as wide: a cost that still fits here does not depend on the width.
WIDEST = 1 << 16


def fitting_width(
    price: Callable[[int], Cost],
    macs: float | None = None,
    params: float | None = None,
    least: int = 1,
    step: int = 1,
    key: str = "method.budget",
    mend: Callable[[], str] = str,
) -> int:
    """The largest `init_channels` whose evaluation network stays within the budget.

    DSO-NAS scales all widths by one factor until what was found costs what it may (Zhang et al. 2018: 3.0M
    parameters on CIFAR-10, below 600M multiply-adds on ImageNet). Costs must not fall where the width grows;
    then about 2 log2(width) networks are priced, each once.

    Args:
        price: init_channels -> cost of that evaluation network.
        macs: multiply-adds of one image that may not be exceeded; None for any number.
        params: parameters without the auxiliary head that may not be exceeded; None for any number.
        least: the smallest width that can be built.
        step: widths are `least` plus a multiple of this; 2 for a stem that halves it.
        key: the setting that the budget came from.
        mend: asked where the narrowest network is above the budget: what else would help, `, or ...`.

    Raises:
        ConfigError: no budget is given, one is not positive, the narrowest network is above it, or the cost
            does not depend on the width.
    """
    require(macs is not None or params is not None, f"{key}: neither macs nor params is given; set one")
    for name, value in (("macs", macs), ("params", params)):
        require(value is None or value > 0, f"{key}.{name}={value}: must be null or positive")
    require(
        least >= 1 and step >= 1, f"a width of at least {least} in steps of {step}: both must be at least 1"
    )

    def fits(steps: int) -> bool:
        cost = price(least + steps * step)
        if (macs is None or cost.macs <= macs) and (params is None or cost.params <= params):
            return True
        if steps == 0:
            raise ConfigError(_too_small(cost, macs, params, least, key) + mend())
        return False

    low, high = 0, 1
    fits(low)
    while fits(high):
        low, high = high, 2 * high
        require(
            least + high * step <= WIDEST,
            f"{key}: init_channels={least + low * step} still fits; the cost does not grow with it",
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return least + low * step


def _too_small(cost: Cost, macs: float | None, params: float | None, least: int, key: str) -> str:
    budget = [f"macs={macs:g}"] if macs is not None else []
    budget += [f"params={params:g}"] if params is not None else []
    return (
        f"{key}: {', '.join(budget)} is below the narrowest network: init_channels={least} costs "
        f"{cost.macs:,} multiply-adds and {cost.params:,} parameters; raise the budget, or search for a "
        "cell of fewer operations"
    )


def largest_fitting(values: Sequence[Any], fits: Callable[[Any], bool]) -> Any:
    """The largest of growing sizes that fits; None where none does.

    Args:
        values: sizes; whether one fits must not turn true where they grow.
        fits: `ConfigError` for a size that is too small for a network.
    """

    def known(value: Any) -> bool | None:
        try:
            return fits(value)
        except ConfigError:
            return None

    low, high = -1, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        # What is too small to be built would cost too little.
        low, high = (low, middle) if known(values[middle]) is False else (middle, high)
    return values[low] if low >= 0 and known(values[low]) else None
