"""A plan measures what its time and the free memory allow, and says so of the rest."""

from types import SimpleNamespace

import pytest
import torch

from nas.errors import ConfigError
from nas.measure import planned_steps
from nas.measure.footprint import Footprint
from nas.measure.planned_steps import Measured, Point, measure_steps

MIB = 2**20
# Bytes in any case, and per image.
PRICE = Footprint(torch.tensor([1.0 * MIB]), torch.tensor([1.0 * MIB]))


class Machine:
    """A device on which each of three steps takes 1 s and so many more per image, by a clock of its own."""

    def __init__(self, per_image):
        self.now, self.per_image, self.sizes = 0.0, per_image, []

    def build(self, size):
        self.sizes.append(size)

        def step():
            torch.zeros(1)  # where the deadline looks at the clock
            self.now += 1 + self.per_image * size

        method = SimpleNamespace(joint=False)
        return SimpleNamespace(weight=step, architecture=step, validation=step, method=method)

    def measure(self, batch_size, until, first=2):
        device = torch.device("cpu")
        return measure_steps(self.build, PRICE, batch_size, device, until, lambda: self.now, first)


@pytest.fixture
def free(monkeypatch):
    """`free(bytes)`: what the system says is left."""
    return lambda number: monkeypatch.setattr(planned_steps, "free_bytes", lambda device: number)


def test_the_whole_batch_is_measured_where_there_is_room_for_it(free):
    free(None)
    machine = Machine(per_image=0.1)
    found = machine.measure(16, until=1000)
    assert found.whole and machine.sizes == [2, 16]
    assert found.seconds() == pytest.approx({"weight": 2.6, "architecture": 2.6, "validation": 2.6})
    assert {len(values) for values in found.points[-1].seconds.values()} == {planned_steps.ROUNDS}


def test_where_time_is_short_the_whole_batch_is_measured_fewer_times_rather_than_extrapolated(free):
    free(None)
    machine = Machine(per_image=0.1)
    # Two images take 3.6 s twice; eight 5.4 s twice; sixteen 7.8 s, a warm-up and one of the three rounds.
    found = machine.measure(16, until=37)
    assert found.whole and machine.sizes == [2, 8, 16] and machine.now <= 37
    assert len(found.points[-1].seconds["weight"]) == 1


def test_what_takes_too_long_is_extrapolated_along_a_line(free):
    free(None)
    machine = Machine(per_image=0.1)
    found = machine.measure(1024, until=60)
    assert not found.whole and machine.sizes == [2, 8, 32] and machine.now <= 60
    assert found.seconds()["weight"] == pytest.approx(1 + 0.1 * 1024)


def test_a_second_batch_tells_a_step_that_costs_the_same_whatever_its_size(free):
    free(None)
    machine = Machine(per_image=0.01)
    # Proportional to that of two columns the step of eight would take 24.5 s twice; it takes 3.24 s.
    found = machine.measure(32, until=14)
    assert machine.sizes == [2, 8] and machine.now <= 14
    assert found.seconds()["weight"] == pytest.approx(1.32)


def test_measuring_may_begin_with_more_where_they_fit(free):
    free(None)
    machine = Machine(per_image=0.01)
    found = machine.measure(64, until=9, first=32)
    assert machine.sizes == [32] and [point.size for point in found.points] == [32]
    free(33 * MIB)
    machine = Machine(per_image=0.01)
    machine.measure(64, until=1000, first=32)
    assert machine.sizes == [int(33 * planned_steps.SHARE - 1)]


def test_a_second_batch_that_takes_too_long_is_left_at_the_deadline(free):
    free(None)
    machine = Machine(per_image=1)
    found = machine.measure(32, until=30)
    assert machine.sizes == [2, 8] and [point.size for point in found.points] == [2]
    assert found.seconds()["weight"] == pytest.approx(3 * 16)


def test_no_batch_is_built_beyond_the_free_memory(free):
    free(33 * MIB)
    machine = Machine(per_image=0.01)
    found = machine.measure(1024, until=1000)
    assert not found.whole and max(machine.sizes) == int(33 * planned_steps.SHARE - 1)
    free(2 * MIB)
    with pytest.raises(ConfigError, match=r"a batch of 2 is estimated at 0\.0 GiB, and 0\.0 are free"):
        machine.measure(1024, until=1000)


def test_a_network_that_is_too_slow_for_any_step_is_said_to_be(free):
    free(None)
    with pytest.raises(ConfigError, match="a batch of 2 takes longer than a plan may"):
        Machine(per_image=20).measure(64, until=30)


def test_one_batch_alone_is_taken_for_proportional():
    assert Measured([Point(2, {"weight": [1.0]}, 0)], 64).seconds() == {"weight": 32.0}
