"""What processes of one run agree on and compare, without starting any."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.engine.drawing import drawing_from
from nas.engine.machine import processes
from nas.engine.machine.drift import DriftCheck, Drifted, fingerprint
from nas.engine.machine.peers import strategy_of
from nas.errors import ConfigError
from tests.methods.flat import relaxation_of

STARTED = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "WORLD_SIZE",
    "TORCHELASTIC_RUN_ID",
    "SLURM_NTASKS",
)
floats = st.floats(allow_nan=False, width=64)


@given(st.lists(floats, min_size=1, max_size=8), st.integers(0, 7), floats)
def test_a_fingerprint_is_that_of_every_bit(values, place, other):
    place %= len(values)
    changed = [*values[:place], other, *values[place + 1 :]]
    one, two = (torch.tensor(v, dtype=torch.float64) for v in (values, changed))
    same = bool((one.view(torch.int64) == two.view(torch.int64)).all())
    assert (fingerprint(one) == fingerprint(two)) == same


def test_a_fingerprint_knows_places():
    assert fingerprint(torch.tensor([[1.0, 2.0]])) != fingerprint(torch.tensor([[2.0, 1.0]]))


@pytest.mark.parametrize(
    ("drifted", "words"),
    [
        ({}, None),
        ({1: "normal"}, "group normal: process 1 differs from process 0"),
        ({0: "reduce"}, "group reduce: process 0 differs from process 1"),
        ({1: "reduce", 3: "reduce"}, "group reduce: processes 1, 3 differ from process 0"),
    ],
)
def test_drifted_processes_are_named(drifted, words):
    alphas = [{"normal": torch.ones(2, 3), "reduce": torch.ones(2, 3)} for _ in range(4)]
    for rank, group in drifted.items():
        alphas[rank][group][1, 2] += 1e-7
    gathered = torch.stack([torch.stack([fingerprint(a) for a in groups.values()]) for groups in alphas])
    trainer = SimpleNamespace(
        world_size=4, current_epoch=0, strategy=SimpleNamespace(all_gather=lambda own: gathered)
    )
    module = SimpleNamespace(iteration=7, method=SimpleNamespace(alpha=alphas[0], edges=None))
    if words is None:
        DriftCheck(1).on_train_batch_end(trainer, module, None, None, 0)
        return
    with pytest.raises(Drifted, match=rf"after step 7 \(epoch 0\).*{words}"):
        DriftCheck(1).on_train_batch_end(trainer, module, None, None, 0)
    DriftCheck(2).on_train_batch_end(trainer, module, None, None, 0)  # not its step


def test_a_lent_generator_moves_on_and_the_global_one_does_not():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    shared = torch.Generator().manual_seed(5)
    drawn = []
    for _ in range(2):
        with drawing_from(shared):
            drawn.append(torch.rand(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert torch.equal(torch.cat(drawn), torch.rand(6))


@pytest.mark.parametrize(
    ("environment", "leads", "name"),
    [
        ({}, True, "process 0"),
        ({"LOCAL_RANK": "1"}, False, "process 1"),
        ({"NODE_RANK": "1"}, False, "process 0 of node 1"),
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0"}, True, "process 0"),
        # The first process of a second machine.
        ({"TORCHELASTIC_RUN_ID": "x", "RANK": "8", "LOCAL_RANK": "0"}, False, "process 8"),
        ({"SLURM_NTASKS": "16", "SLURM_PROCID": "3"}, False, "process 3"),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, True, "process 0"),
    ],
)
def test_who_leads(monkeypatch, environment, leads, name):
    for key in (*STARTED, "SLURM_PROCID", "SLURM_JOB_NAME"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert (processes.leads(), processes.name()) == (leads, name)


def test_processes_of_slurm_need_a_named_folder(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.delenv("SLURM_JOB_NAME", raising=False)
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir=/x: .*name one for all"):
        processes.check_folder_named("/x")


@pytest.mark.parametrize(
    ("strategy", "search", "words"),
    [
        ("ddp_spawn", False, "hardware.strategy=ddp_spawn: several processes run with"),
        ("ddp", True, "use ddp_find_unused_parameters_true"),
    ],
)
def test_strategies_that_do_not_fit_are_refused(strategy, search, words):
    hardware = {"name": "cpu", "accelerator": "cpu", "devices": 2, "num_nodes": 1, "strategy": strategy}
    with pytest.raises(ConfigError, match=words):
        strategy_of(hardware, 60.0, search)
    assert strategy_of(hardware | {"devices": 1}, 60.0, search) == strategy


def test_only_a_dirichlet_has_draws_to_share():
    assert relaxation_of("dirichlet").draws == "shared"
    with pytest.raises(ConfigError, match=r"method\.draws=each: unknown; known are shared, rank"):
        relaxation_of("dirichlet", draws="each")
    with pytest.raises(ConfigError, match=r"method\.draws=rank: only for method.relaxation=dirichlet"):
        relaxation_of("softmax", draws="rank")
