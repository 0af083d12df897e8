"""A search on a table of costs says each epoch what its architecture costs, and is not changed by it."""

import itertools

import pytest

from tests.analysis.test_tabular import OPERATIONS, arch
from tests.commands.test_bad_input import assert_refused
from tests.commands.test_resume import kill_at
from tests.commands.test_tabular import DIRICHLET, TINY, accuracy, derived, rows, search, summary

DEARNESS = {"none": 0, "skip_connect": 1, "avg_pool_3x3": 2, "nor_conv_1x1": 3, "nor_conv_3x3": 7}
ALL = list(itertools.product(OPERATIONS, repeat=6))


def cost(operations):
    """A made-up cost: a sum over edges, dearer on later ones."""
    return 2 + sum(DEARNESS[name] * (2 + edge) for edge, name in enumerate(operations))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Overrides that name a table of accuracies and two of costs, and the figures of both."""
    folder = tmp_path_factory.mktemp("tables")
    figures = {arch(*one): (round(accuracy(one), 4), cost(one)) for one in ALL}
    (folder / "accuracies.csv").write_text(
        "arch,cifar10_test\n" + "".join(f"{a},{value}\n" for a, (value, _) in figures.items())
    )
    (folder / "costs.csv").write_text(
        "arch,phone,board\n"
        + "".join(f"{a},{price},{0 if price > 100 else price}\n" for a, (_, price) in figures.items())
    )
    (folder / "more.csv").write_text("arch,chip\n" + "".join(f"{a},1\n" for a in figures))
    named = f"tabular.costs=[{folder}/costs.csv,{folder}/more.csv]"
    return (f"tabular.file={folder}/accuracies.csv", "tabular.metric=cifar10_test", named), figures


def test_every_epoch_says_cost_regret_and_distance(run, tables, tmp_path):
    overrides, figures = tables
    budget = 60
    given = (*overrides, "tabular.cost=phone", "tabular.cost_unit=ms", f"tabular.budget={budget}")
    done = search(run, tmp_path, *DIRICHLET, *given)
    best = max(value for value, price in figures.values() if price <= budget)
    archs = derived(tmp_path)
    for one, row in zip(archs, rows(tmp_path / "metrics.csv"), strict=True):
        value, price = figures[one]
        assert float(row["cost"]) == price and int(row["budget_met"]) == (price <= budget)
        regret = row["regret_constrained"]
        assert (regret != "") == (price <= budget)
        assert regret == "" or float(regret) == pytest.approx(best - value)
        at_most = max(other for other, cheaper in figures.values() if cheaper <= price)
        assert float(row["front_distance"]) == pytest.approx(at_most - value)
    found, (value, price) = summary(tmp_path), figures[archs[-1]]
    assert (found["cost_of"], found["cost"], found["cost_unit"], found["cost_budget"]) == (
        "phone", price, "ms", budget,
    )  # fmt: skip
    assert found["budget_met"] is (price <= budget)
    assert found["cost_rank"] == 1 + sum(other < price for _, other in figures.values())
    assert found["cost_equals"] == sum(other == price for _, other in figures.values())
    assert f"cost:       phone {price} ms, " in done.out
    assert "left out and never filled in: board: " in done.out


def test_what_is_too_little_for_convolutions_is_a_key(run, tables, tmp_path):
    overrides, figures = tables
    middle = sorted(price for _, price in figures.values())[7812]
    low = [(a, p) for a, (_, p) in figures.items() if "nor_conv" in a and p < 0.5 * middle]
    given = (*DIRICHLET, *overrides, "tabular.cost=phone", "plan=true", "tabular.cost_floor=0.5")
    done = run("search", *given, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 0, done.err
    text = " ".join((done.out + done.err).split())
    assert f"phone: {len(low):,} below 50% of the median in spite of convolutions" in text
    assert f"phone ({15_625 - len(low):,} known)" in text
    assert_refused(run("search", *given, "tabular.cost_floor=2"), "tabular.cost_floor=2")
    assert_refused(run("search", *given, "tabular.costs=null", "tabular.cost=null"), "without effect")


def test_looking_costs_up_does_not_change_the_search_and_survives_a_kill(run, tables, tmp_path):
    overrides = (*DIRICHLET, *tables[0], "tabular.cost=phone", "trainer.enable_progress_bar=false")
    blind, whole, killed = (tmp_path / name for name in ("blind", "whole", "killed"))
    search(run, blind, *DIRICHLET)
    search(run, whole, *overrides)
    assert (blind / "architecture.csv").read_bytes() == (whole / "architecture.csv").read_bytes()
    kill_at(tmp_path, ("nas.engine.checkpoints", "", "refuse_broken", 2, ""), "search", *overrides,
            f"hydra.run.dir={killed}")  # fmt: skip
    done = run("search", f"resume={killed}")
    assert done.status == 0
    assert (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
    keys = ("cost_of", "cost", "cost_budget", "budget_met", "regret_constrained", "front_distance")
    assert [summary(whole)[key] for key in keys] == [summary(killed)[key] for key in keys]
    # Without a budget neither is anything met nor regretted.
    assert [summary(whole)[key] for key in keys[2:5]] == [None, None, None]


def test_a_drawn_architecture_has_its_cost_too(run, tables, tmp_path):
    overrides, figures = tables
    drawn = [override for override in TINY if not override.startswith("method.")]
    search(run, tmp_path, *drawn, "method=random", *overrides, "tabular.cost=board", "tabular.budget=500")
    [row], found = rows(tmp_path / "metrics.csv"), summary(tmp_path)
    price = figures[found["genotype"]][1]
    # Zero is no cost: such an architecture is not known to be within any budget.
    assert found["cost"] == (None if price > 100 else price)
    assert found["budget_met"] is (price <= 100) and int(row["budget_met"]) == (price <= 100)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tabular.cost=watch"], "has no such column; it has phone, board, chip"),
        (["tabular.cost=phone", "tabular.budget=1.5"], "no architecture of this space costs as little"),
        (["tabular.cost=phone", "tabular.budget=-1"], "must be null or a positive number"),
        (["tabular.budget=20"], "of which cost? tabular.cost=<column"),
        (["tabular.costs=null", "tabular.cost=phone"], "a column of which file? tabular.costs=<CSV>"),
        (["tabular.file=null", "tabular.cost=phone"], "costs stand beside accuracies"),
        (["tabular.costs=nowhere.csv"], "no such file"),
        (["tabular.costs=[]"], "name one CSV file at least"),
    ],
)
def test_costs_that_cannot_be_used_are_refused_before_anything_is_trained(
    run, tables, tmp_path, overrides, words
):
    done = run("search", *TINY, *tables[0], *overrides, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and words in done.err
    assert not (tmp_path / "a/config.yaml").exists()


def test_a_command_that_reads_no_costs_says_so(run, tables, tmp_path):
    words = ("space=nasbench201", "dataset=digits", tables[0][0], tables[0][1], "tabular.budget=5")
    done = run("rank", *words, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and "tabular.budget=5: without effect in nas.rank" in done.err


BUDGETED = (*DIRICHLET, "method.cost.rate=0.5", "trainer.max_epochs=4", "trainer.enable_progress_bar=false")


def last_within(archs, figures, budget):
    within = [epoch for epoch, one in enumerate(archs) if figures[one][1] <= budget]
    return within[-1] if within else None


@pytest.mark.parametrize("method", ["drnas_nb201", "darts1"])
def test_the_result_is_within_the_budget_of_a_column(run, tables, tmp_path, method):
    overrides, figures = tables
    budget = 60
    given = (*BUDGETED, f"method={method}", "method.cost.of=phone", f"method.cost.budget={budget}")
    done = search(run, tmp_path, *given, *overrides, "tabular.cost_unit=ms")
    assert (
        "a cost for each operation of each edge, fitted to 2,000 architectures; on 500 others R2 1.000"
        in done.out
    )
    metrics, found = rows(tmp_path / "metrics.csv"), summary(tmp_path)
    price = 0.0
    for row in metrics:
        # Two steps an epoch, of which the second leaves the architecture that is recorded.
        assert float(row["cost_multiplier"]) <= price + 2 * 0.5
        price = float(row["cost_multiplier"])
        assert float(row["expected_cost"]) > 0
    chosen = last_within(derived(tmp_path), figures, budget)
    assert found.get("result_epoch") == chosen
    epoch = len(metrics) - 1 if chosen is None else chosen
    assert found["genotype"] == derived(tmp_path)[epoch]
    assert found["cost"] == figures[found["genotype"]][1] and found["budget_met"] is (chosen is not None)
    assert (found["cost_of"], found["cost_unit"], found["cost_budget"]) == ("phone", "ms", budget)
    assert found["cost_fit_r2"] == pytest.approx(1.0) and found["cost_fit_error"] < 1e-6
    assert ("budget:     NOT met" in done.out) is (chosen is None)


def test_a_budget_that_is_missed_is_said_in_one_line_and_nothing_is_hidden(run, tables, tmp_path):
    overrides, _ = tables
    # So little that no step comes there in time.
    given = ("method=darts1", *TINY, "method.cost.of=phone", "method.cost.budget=2", "method.cost.rate=1e-6",
             "method.warmup_epochs=1")  # fmt: skip
    done = search(run, tmp_path, *given, *overrides)
    found = summary(tmp_path)
    assert found["status"] == "finished" and found["budget_met"] is False and "result_epoch" not in found
    assert found["genotype"] == derived(tmp_path)[-1] and found["regret_constrained"] is None
    [line] = [line for line in done.out.splitlines() if line.startswith("budget:")]
    assert "NOT met: no epoch in which alpha moved had an architecture known to be within" in line


@pytest.mark.parametrize("multiplier", ["lagrangian", "adaptive"])
def test_a_killed_search_with_a_budget_goes_on_with_its_price(run, tables, tmp_path, multiplier):
    given = (*BUDGETED, *tables[0], "method.cost.of=phone", "method.cost.budget=40", "method.cost.weight=0.3",
             f"method.cost.multiplier={multiplier}")  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    search(run, whole, *given)
    kill_at(tmp_path, ("nas.engine.checkpoints", "", "refuse_broken", 3, ""), "search", *given,
            f"hydra.run.dir={killed}")  # fmt: skip
    done = run("search", f"resume={killed}")
    assert done.status == 0
    for name in ("metrics.csv", "architecture.csv", "genotype.json"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert summary(whole).get("result_epoch") == summary(killed).get("result_epoch")


def test_a_search_goes_on_with_the_costs_that_it_began_with(run, tables, tmp_path):
    overrides, figures = tables
    begun, copy, other = tmp_path / "begun", tmp_path / "copy.csv", tmp_path / "other.csv"
    search(run, begun, *BUDGETED, *overrides, "method.cost.of=phone", "method.cost.budget=60",
           "trainer.max_epochs=2")  # fmt: skip
    copy.write_text("arch,phone\n" + "".join(f"{a},{price}\n" for a, (_, price) in figures.items()))
    other.write_text("arch,phone\n" + "".join(f"{a},{200 - price}\n" for a, (_, price) in figures.items()))
    more = ("search", f"resume={begun}", "resume_schedule=restart", "trainer.max_epochs=3")
    halved = tmp_path / "halved.csv"
    halved.write_text("arch,phone\n" + "".join(f"{a},{price / 2}\n" for a, (_, price) in figures.items()))
    for file in (other, halved):
        done = run(*more, f"tabular.costs={file}")
        assert_refused(done, "the search began with other costs of 'phone' than tabular.costs holds now")
    assert len(rows(begun / "metrics.csv")) == 2
    assert run(*more, f"tabular.costs={copy}").status == 0
    assert len(rows(begun / "metrics.csv")) == 3
    (begun / "costs.json").write_text('{"of": "phone", "shares": {"cell": "many"}}')
    assert_refused(run(*more[:3], "trainer.max_epochs=4"), "costs.json: damaged")


def test_multiply_adds_stand_in_for_a_device_and_both_are_told(run, tables, tmp_path):
    overrides, figures = tables
    given = (
        *BUDGETED,
        "method.cost.of=macs",
        "method.cost.budget=3e4",
        "tabular.cost=phone",
        "tabular.budget=60",
    )
    done = search(run, tmp_path, *given, *overrides)
    found = summary(tmp_path)
    assert (found["cost_of"], found["cost"]) == ("phone", figures[found["genotype"]][1])
    assert (found["proxy_cost_of"], found["proxy_cost"], found["proxy_cost_budget"]) == (
        "macs", found["macs"], 3e4,
    )  # fmt: skip
    assert found["proxy_budget_met"] is (found["macs"] <= 3e4)
    assert f". Held to macs {found['macs']:,} multiply-adds, " in done.out


def test_a_table_of_this_device_prices_candidates(run, tables, tmp_path):
    sizes = ("space=nasbench201", "dataset=digits", "recipe=nasbench201", "recipe.cells_per_stage=1",
             "recipe.init_channels=2")  # fmt: skip
    measured = tmp_path / "latency"
    done = run("latency", *sizes, "latency.rounds=2", f"hydra.run.dir={measured}")
    assert done.status == 0
    folder = tmp_path / "search"
    given = ("method=drnas_nb201", *TINY, "method.cost.of=latency", f"method.cost.table={measured}",
             "method.cost.weight=0.5", *tables[0])  # fmt: skip
    search(run, folder, *given)
    found = summary(folder)
    assert (found["cost_of"], found["cost_unit"], found["budget_met"]) == ("latency", "ms", None)
    assert 0 < found["cost"] < 1000 and found["front_distance"] >= 0


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["method.cost.of=phone", "method.cost.budget=1"], "no architecture of this space costs as little"),
        (["method.cost.of=params", "method.cost.budget=100"], "of its evaluation networks run"),
        (["method.cost.of=watch", "method.cost.budget=9"], "macs, latency, phone, board, chip"),
        (["method.cost.of=latency", "method.cost.budget=9"], "name its file or run folder"),
        (["method.cost.of=chip", "method.cost.budget=9"], "all architectures cost the same"),
        (["method.cost.budget=1e5", "method.cost.rate=0"], "method.cost.rate=0"),
        (["method.cost.rate=0.1"], "without effect where method.cost.budget=null"),
        (["method.cost.of=phone", "method.cost.budget=9", "tabular.cost=phone", "tabular.budget=8"],
         "one cost, two budgets"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("plan", ["false", "true"])
def test_a_budget_that_nothing_meets_is_refused_by_a_search_and_by_its_plan(
    run, tables, tmp_path, overrides, words, plan
):
    given = (*DIRICHLET, *tables[0], *overrides, f"plan={plan}")
    done = run("search", *given, f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and words in done.err
    assert not (tmp_path / "a/config.yaml").exists()


def test_a_plan_prints_what_the_space_costs(run, tables, tmp_path):
    overrides, figures = tables
    done = run("search", *DIRICHLET, *overrides, "plan=true", f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 0
    prices = sorted(price for _, price in figures.values())
    text = " ".join(done.out.split())
    assert "costs of all architectures" in text and "smallest / middle / largest" in text
    assert f"phone (15,625 known) │ {prices[0]} / {prices[7812]} / {prices[-1]}" in text
    assert "parameters │ 1" in text.replace("multiply-adds", "")


def test_a_budget_of_the_methods_own_keeps_its_word_beside_a_cost_that_is_logged(run, tables, tmp_path):
    """The printed evaluation builds the network that the search has sized for `method.budget`."""
    words = [one for one in TINY if not one.startswith("method")]
    words += ["method=dsonas", "method.budget.params=3000000", "trainer.max_epochs=1", "tabular.budget=60"]
    words += ["method.warmup_epochs=0", "method.gamma=1"]
    done = run("search", *words, *tables[0], "tabular.cost=phone", f"hydra.run.dir={tmp_path / 'a'}")
    assert (done.status, done.err) == (0, "")
    found = summary(tmp_path / "a")
    assert found["budget_met"] is True and "cost_budget_met" in found and found["cost_budget"] == 60


def test_costs_of_which_no_column_is_named_are_refused(run, tables, tmp_path):
    done = run("search", *TINY, *tables[0], f"hydra.run.dir={tmp_path / 'a'}")
    assert done.status == 2 and "tabular.cost=<column>" in done.err and not (tmp_path / "a").exists()
