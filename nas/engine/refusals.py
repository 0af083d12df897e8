"""What a search cannot do with the settings it was given, found before it starts."""

from typing import Any

from nas.errors import require


def check_compile(config: Any) -> None:
    """Refuses what a compiled network cannot do.

    Raises:
        ConfigError: second derivatives are asked of a compiled network.
    """
    analysis = config.analysis
    wanted = {
        "method.implicit=exact": _exact(config.method),
        "analysis.hessian.every": analysis.hessian.every,
        "analysis.implicit.every": analysis.implicit.every,
    }
    asked = [key for key, value in wanted.items() if value]
    require(
        not (config.hardware.compile and asked),
        "hardware.compile=true: a compiled network has no second derivatives, but "
        f"{', '.join(asked)} needs them",
    )


def _exact(method: Any) -> bool:
    update = method.get("update")
    return "exact" in (method.get("implicit"), hasattr(update, "get") and update.get("implicit"))


def check_precision(precision: str) -> None:
    """Refuses precisions that a search cannot be run in.

    Raises:
        ConfigError: architecture gradients would be lost in it.
    """
    known = ("32-true", "64-true", "bf16-mixed")
    require(
        str(precision) in known,
        f"hardware.precision={precision}: a search runs in {', '.join(known)}; float16 scales the loss, "
        "which the gradients of alpha, the finite difference and the clipping of weights do not survive",
    )
