"""What monitors decide: rules worked out by hand."""

from types import SimpleNamespace

import pytest
import torch

from nas.engine.recording import SearchRecorder
from nas.engine.search_module import SearchModule
from nas.engine.stages import Leg
from nas.engine.tasks import Classification
from nas.engine.watching import Watch, check_monitors, leg_of_result
from nas.errors import ConfigError
from nas.methods.monitors import (
    AdaptiveRegularization,
    BestEpoch,
    Decision,
    DominantEigenvalue,
    GradientAgreement,
    Monitor,
    Seen,
    Skips,
)
from nas.methods.schedules import Stages
from tests.methods.flat import flat_method

NAN = float("nan")


def decisions(monitor, series, key="hessian_eigenvalue", every=2, **others):
    """{epoch: decision} where a value is measured every so many epochs."""
    found = {}
    for epoch in range(every * len(series)):
        decision = None
        if epoch % every == 0:
            decision = monitor.end_epoch(Seen(epoch, False, {key: series[epoch // every]} | others))
        if decision is not None:
            found[epoch] = decision
    return found


@pytest.mark.parametrize(
    ("series", "epoch", "result"),
    [
        # Means of five: 1 at first, (1 + 1 + 1 + 1 + 3) / 5 = 1.4 with the 12th measurement, of epoch 22.
        # That stands for epoch 18 and is compared with the mean that stands for epoch 10.
        ([1.0] * 11 + [3.0], 22, 10),
        # 1.28 is not enough; (2 * 2.4 + 3) / 5 = 1.56 is, against the mean of epoch 12.
        ([1.0] * 11 + [2.4, 2.4], 24, 12),
        # Growth before epoch 10 counts for nothing: at epoch 20 the earlier mean is that of epoch 8.
        ([1.0] * 10 + [3.0, -1.0], None, None),
        # 5 / 1.8: the earlier mean has a part in the growth already.
        ([1.0] * 7 + [5.0] * 5, 22, 10),
        # Below 0 there is no ratio.
        ([-1.0] * 12, None, None),
        # What is no finite number counts for nothing, and is no measurement that moves the others on.
        ([1.0] * 3 + [NAN, float("inf")] + [1.0] * 12, None, None),
        ([1.0] * 11 + [NAN, 3.0], 24, 10),
    ],
)  # fmt: skip
def test_the_eigenvalue_ends_a_search_where_it_does_by_hand(series, epoch, result):
    found = decisions(DominantEigenvalue(), series)
    assert [(at, one.result) for at, one in found.items()][:1] == ([] if epoch is None else [(epoch, result)])


def test_the_eigenvalue_decides_nothing_after_the_last_epoch_and_goes_on_from_its_state():
    whole = DominantEigenvalue()
    decisions(whole, [1.0] * 11)
    assert whole.keeps() == [10, 12, 14, 16, 18, 20]
    half = DominantEigenvalue()
    half.restore(whole.state())
    assert half.end_epoch(Seen(22, True, {"hessian_eigenvalue": 3.0})) is None
    half.restore(whole.state())
    assert half.end_epoch(Seen(22, False, {"hessian_eigenvalue": 3.0})).result == 10
    # An epoch in which nothing could be measured is none to it, and one that it has not asked for either.
    Watch({"eigenvalue": whole}).end_epoch(Seen(22, False, {"weight_decay": 0.1}))
    assert whole.end_epoch(Seen(21, False, {"hessian_eigenvalue": 9.0})) is None and len(whole.epochs) == 11


def test_more_weight_decay_up_to_its_maximum():
    for decay, factor in ((3e-4, 10.0), (3e-3, 10.0), (2e-2, 1.5), (3e-4 * 10 * 10, None), (0.05, None)):
        monitor = AdaptiveRegularization()
        found = decisions(monitor, [1.0] * 11 + [3.0], weight_decay=decay).get(22)
        if factor is None:
            assert found is None
        else:
            assert (found.back_to, found.stop) == (10, None)
            assert found.scale["weight_decay"] == pytest.approx(factor)
    build = lambda weights: torch.optim.SGD(weights, 0.1, weight_decay=0.0)  # noqa: E731
    with pytest.raises(ConfigError, match=r"weight_decay=0.0: is to be multiplied with 10.0 up to 0.03"):
        flat_method("m", {"cell": (2, 2)}, weight_optimizer=build, monitors={"ada": {
            "_target_": "nas.methods.monitors.AdaptiveRegularization"}})  # fmt: skip


def test_skips_end_a_search_and_the_best_epoch_is_the_earliest_of_equal_ones():
    found = decisions(Skips(), [0.0, 1.0, 2.0, 3.0], "num_skip", every=1)
    assert list(found) == [2, 3] and found[2].stop == "2 skips, limit 2" and found[2].result is None
    best = BestEpoch()
    found = decisions(best, [0.3, 0.5, 0.5, 0.4, 0.6], "architecture_accuracy", 1, architecture_loss=1.0)
    assert [one.result for one in found.values()] == [0, 1, 4] and list(best.keeps()) == [4]
    again = BestEpoch()
    again.restore(best.state())
    assert decisions(again, [0.5, 0.7], "architecture_accuracy", 1, architecture_loss=1.0)[1].result == 1
    assert list(decisions(BestEpoch(), [3.0, 2.0, 2.5], "architecture_loss", 1)) == [0, 1]


def test_disagreement_is_a_mean_over_a_window_of_the_steps_that_ran_the_candidate():
    monitor = GradientAgreement(threshold=0.4, steps=3)
    window = torch.tensor([[0.9, 0.0, NAN, NAN], [0.2, 0.9, 0.1, NAN], [0.2, 0.2, NAN, NAN]])
    assert monitor.end_step(window[0]) is None
    again = GradientAgreement(threshold=0.4, steps=3)
    again.restore(monitor.state())
    for one in (monitor, again):
        assert one.end_step(window[1]) is None
        assert one.end_step(window[2]).tolist() == [False, True, True, False]
    # The next window has forgotten the one before.
    assert monitor.end_step(torch.ones(4)) is None and monitor.state()["sums"].tolist() == [1.0] * 4
    never = GradientAgreement(threshold=-1, steps=1)
    assert not never.end_step(torch.full((7,), -1.0)).any()


class Names(Monitor):
    """Decides as it is told to."""

    def __init__(self, *found):
        self.found = list(found)

    def end_epoch(self, seen):
        return self.found.pop(0)

    def keeps(self):
        return [7]


def test_the_first_monitor_that_acts_is_followed():
    watch = Watch({"best": Names(Decision(result=3), None), "stop": Names(None, Decision(stop="enough"))})
    watch.end_epoch(Seen(4, False, {}))
    assert (watch.stops, watch.result, watch.keeps()) == (False, 3, {3, 7})
    watch.end_epoch(Seen(5, False, {}))
    assert watch.stops and watch.summary() == {"ended_by": "method.monitors.stop: enough", "result_epoch": 3}
    # One that stops has the last word of which epoch it is.
    watch = Watch({"stop": Names(Decision("enough", 2)), "best": Names(Decision(result=6))})
    watch.end_epoch(Seen(6, False, {}))
    assert watch.result == 2
    watch = Watch({"back": Names(Decision(back_to=1, scale={"weight_decay": 3.0}))})
    watch.end_epoch(Seen(6, False, {"weight_decay": 0.1}))
    assert watch.stops and watch.back.epoch == 1
    assert watch.back.record == {"monitor": "back", "at": 6, "to": 1, "weight_decay": pytest.approx(0.3)}
    with pytest.raises(
        ConfigError, match=r"holds of method\.monitors does not fit them \(KeyError: 'stop'\)"
    ):
        Watch({"stop": Skips()}).restore({"states": {}, "ended_by": None, "result": None, "went_back": []})


@pytest.mark.parametrize(
    "state",
    [
        {"epochs": [float("inf")], "eigenvalues": [1.0]},
        {"epochs": [0, 2], "eigenvalues": [1.0]},
        {"epochs": [2, 0], "eigenvalues": [1.0, 1.0]},
        {"epochs": [-2], "eigenvalues": [1.0]},
    ],
)
def test_a_damaged_state_is_told_as_one(state):
    whole = {"states": {"a": state}, "ended_by": None, "result": None, "went_back": []}
    with pytest.raises(ConfigError, match=r"method\.monitors does not fit them \((Value|Overflow)Error"):
        Watch({"a": DominantEigenvalue()}).restore(whole)


@pytest.mark.parametrize(("result", "first"), [(0, 0), (3, 2), (4, None), (-1, None), (99, None)])
def test_the_leg_of_a_result_is_one_of_the_search(result, first):
    watch = Watch({})
    watch.result = result
    legs = [Leg(0, 0, 2), Leg(1, 2, 9)]
    if first is not None:
        assert leg_of_result(watch, legs, 4).first == first
        return
    with pytest.raises(ConfigError, match=f"that of epoch {result}, and it has 4"):
        leg_of_result(watch, legs, 4)


def test_all_processes_go_by_what_the_first_has_measured():
    method = flat_method(
        "m", {"cell": (2, 2)}, monitors={"best": {"_target_": f"{BestEpoch.__module__}.BestEpoch"}}
    )
    module = SearchModule(torch.nn.Linear(2, 2), method, Classification())
    module.search_step.weight_optimizer = torch.optim.SGD(module.weights, 0.1, weight_decay=0.2)
    sent = []
    strategy = SimpleNamespace(broadcast=lambda values: sent.append(values) or {"architecture_loss": 4.0})
    module._trainer = SimpleNamespace(strategy=strategy, current_epoch=1, max_epochs=3, should_stop=False)
    module.monitoring.values = {"architecture_loss": 2.0, "num_skip": None}
    module._ask_monitors()
    assert sent == [{"architecture_loss": 2.0, "weight_decay": 0.2}]
    SearchRecorder.go_to(SimpleNamespace(table=None), 1)  # the others write no tables
    assert method.monitors["best"].best == (1, -4.0) and list(module.needed_epochs()) == [1]


def test_monitors_that_would_never_act_are_refused():
    config = {"trainer": {"limit_val_batches": 0}, "hardware": {"compile": True}}
    measured = ("num_skip", "architecture_loss", "hessian_eigenvalue")
    for monitor, words in {
        BestEpoch(): "limit_val_batches=0 leaves .* set method.monitors.best=null",
        DominantEigenvalue(): "hardware.compile=true",
    }.items():
        with pytest.raises(ConfigError, match=words):
            check_monitors({"best": monitor}, measured, ("architecture_loss",), config)
    with pytest.raises(
        ConfigError, match="needs num_skip, which this search does not measure; it measures a, "
    ):
        check_monitors({"stop": Skips()}, ("a",), (), config)
    with pytest.raises(ConfigError, match=r"trainer\.min_epochs=3"):
        check_monitors(
            {"stop": Skips()}, measured, (), {"trainer": {"limit_val_batches": 1, "min_epochs": 3}}
        )
    node = {"_target_": "nas.methods.monitors.GradientAgreement"}
    for update, words in {"none": "trains nothing", "joint": "on different images"}.items():
        with pytest.raises(ConfigError, match=rf"method\.monitors\.a: .*{words}"):
            flat_method("m", {"cell": (2, 2)}, update=update, monitors={"a": node})
    kinds = {one: {"_target_": f"nas.methods.monitors.{one}"} for one in ("Skips", "GradientAgreement")}
    node = {"_target_": "nas.methods.selections.BestOf"}
    flat_method("m", {"cell": (2, 2)}, selection=node, monitors={"a": kinds["GradientAgreement"]})
    with pytest.raises(ConfigError, match="architectures after the last one"):
        flat_method("m", {"cell": (2, 2)}, selection=node, monitors={"a": kinds["Skips"]})
    stages = Stages([{"epochs": 1}, {"epochs": 1, "fresh": True}])
    for monitor in (BestEpoch(), DominantEigenvalue(), AdaptiveRegularization()):
        with pytest.raises(ConfigError, match=rf"{type(monitor).__name__} .*method\.stages\[1\]\.fresh=true"):
            monitor.check(SimpleNamespace(stages=stages))
    Skips(2).check(SimpleNamespace(max_skips=2))
    with pytest.raises(ConfigError, match=r"limit=3: is never reached where method\.max_skips=2"):
        Skips(3).check(SimpleNamespace(max_skips=2))
    for build in (lambda: Skips(0), lambda: DominantEigenvalue(window=4), lambda: GradientAgreement(1.5)):
        with pytest.raises(ConfigError, match=r"method\.monitors: "):
            build()
