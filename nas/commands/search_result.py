"""What a search ends with: derived, priced, looked up, drawn and summed up."""

import logging

from nas.domains.budgets import fitted
from nas.domains.choose import of_space
from nas.domains.networks import batch_overrides, cost_of, size_overrides
from nas.engine import learning
from nas.engine.genotype_log import GenotypeLog
from nas.engine.loggers import close_logger
from nas.engine.pictures import draw_search
from nas.engine.rows import count_skips, weight_rows
from nas.engine.run_folder import Table
from nas.errors import ConfigError
from nas.files import write_text
from nas.measure.derivation_skips import tell_other_limits
from nas.running.config import plain
from nas.running.log_files import say
from nas.running.printed import command_of
from nas.running.session import Session

log = logging.getLogger(__name__)


def close(logger, session: Session, done: bool) -> None:
    """Closes the logger with the summary, of which it takes what stands under `table` as `table/<key>`."""
    table = {f"table/{key}": value for key, value in session.summary.get("table", {}).items()}
    pictures = sorted(session.folder.figures.glob("*.png"))
    close_logger(logger, plain(session.config), {**session.summary, **table}, pictures, failed=not done)


def finish(session, space, source, method, numbers, tabular, costed=None, quiet: bool = False) -> None:
    """Derives, prices, looks up, draws and sums up.

    With `quiet` (a run that did not end) without the closing words.
    """
    config, folder = session.config, session.folder
    strengths = method.strengths()
    if not all(bool(weights_EO.isfinite().all()) for weights_EO in strengths.values()):
        return  # a diverged run keeps the genotype of its last good epoch
    if learning.undecided(method):
        session.summary |= numbers
        say(
            f"no genotype.json: alpha of method {method.name} never moves, and what the search ends with is "
            "compared after its last epoch"
        )
        return
    genotype = space.derive(method.scores())
    if not method.trains:
        columns = ("epoch", "group", "source", "target", "operation", "weight")
        Table(folder / "architecture.csv", columns).add(weight_rows(space, strengths, 0))
        GenotypeLog(folder.path).add(0, genotype)
        looked_up = {} if tabular is None else tabular.row(genotype)
        looked_up |= {} if costed is None else costed.row(genotype)
        Table(folder / "metrics.csv", ("epoch", "num_skip", *looked_up)).add(
            [{"epoch": 0, "num_skip": count_skips(genotype), **looked_up}]
        )
        numbers = {"epochs": 0, "steps": 0, "architecture": learning.DRAWN}
    write_text(folder / "genotype.json", genotype.to_json() + "\n")
    if method.budget and not quiet:
        fitting = _within(config, space, source, genotype, method.budget)
        session.summary |= {f"budget_{key}": value for key, value in method.budget.items()}
        session.summary["budget_met"] = fitting is not None
        config = config if fitting is None else fitting
        session.summary["init_channels"] = config.recipe.init_channels
    cost = cost_of(config, space, genotype, source=source)
    session.summary |= numbers | {
        "genotype": str(genotype),
        "num_skip": count_skips(genotype),
        "params": cost.params,
        "macs": cost.macs,
    }
    if tabular is not None:
        session.summary["table"] = tabular.report(genotype)
    if costed is not None:
        session.summary |= costed.report(genotype)
    draw_search(folder, space, method, genotype, session.caption)
    if quiet:
        return
    sizes = [one for one in size_overrides(config, space) if not one.startswith("recipe.stem=")]
    tell_other_limits(space, method.scores(), genotype, method.max_skips)
    say(f"\n{genotype}")
    say(
        f"{cost.params / 1e6:.3f} M parameters, {cost.macs / 1e6:.2f} M multiply-adds per "
        f"{of_space(space).unit} ({', '.join([f'recipe {config.recipe.name}', *sizes])})"
    )
    learning.tell(session.summary["architecture"])
    if "result_epoch" in session.summary:
        say(f"result:     of epoch {session.summary['result_epoch']}")
    if tabular is not None:
        say(f"table:      {tabular.words(genotype)}")
    if costed is not None:
        say(f"cost:       {costed.words(genotype)}")
    if method.budgeted and not method.within_budget():
        say(
            f"budget:     NOT met: no epoch in which alpha moved had an architecture known to be within "
            f"method.cost.budget={method.cost.budget:g}; more epochs or a larger method.cost.rate"
        )
    say(f"run folder: {folder.path}")
    say(f"pictures:   {folder.figures}")
    if method.trains and method.relaxation.distribution:
        say(f"derive:     {command_of('derive', config, folder.path)}")
    say(f"evaluate:   {command_of('evaluate', config, folder.path, batch_overrides(config, source))}")


def _within(config, space, source, genotype, budget):
    """The configuration of a network within the budget; None where none is that small."""
    try:
        return fitted(config, space, genotype, budget, source=source)
    except ConfigError as error:
        # The search is done, and what it found stands.
        log.error("%s", error)
        return None
