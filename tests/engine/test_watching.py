"""Looking at a search must not change it; and it runs in every precision that makes sense."""

import csv

import pytest
import torch

from nas.engine.checkpoints import list_checkpoints


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def search(run, tiny, folder, *overrides):
    done = run(
        "search",
        *tiny,
        "trainer.max_epochs=2",
        "trainer.limit_train_batches=3",
        *overrides,
        f"hydra.run.dir={folder}",
    )
    assert (done.status, done.err) == (0, "")
    return folder


@pytest.mark.parametrize("space", ["s4"])
def test_looking_does_not_change_the_search(run, tiny, tmp_path, space):
    base = (f"space={space}", "method=darts2", "method.architecture_optimizer.lr=0.1")
    blind = search(run, tiny, tmp_path / "blind", *base)
    watched = {
        "exact": ("analysis.hessian.every=1", "analysis.hessian.mode=exact"),
        "lanczos": (
            "analysis.hessian.every=1",
            "analysis.hessian.mode=lanczos",
            "analysis.hessian.batches=2",
        ),
        "implicit": ("analysis.implicit.every=2",),
    }
    found = {}
    for name, overrides in watched.items():
        folder = found[name] = search(run, tiny, tmp_path / name, *base, *overrides)
        assert (folder / "architecture.csv").read_bytes() == (blind / "architecture.csv").read_bytes()
        for ours, theirs in zip(rows(folder / "metrics.csv"), rows(blind / "metrics.csv"), strict=True):
            assert ours | {"hessian_eigenvalue": ""} == theirs
        states = [
            torch.load(list_checkpoints(f / "checkpoints")[0], weights_only=True)["state_dict"]
            for f in (folder, blind)
        ]
        for key, value in states[0].items():
            same = value == states[1][key]
            assert same.all() if isinstance(value, torch.Tensor) else same, key
    values = [
        [float(r["hessian_eigenvalue"]) for r in rows(found[n] / "metrics.csv")] for n in ("exact", "lanczos")
    ]
    assert all(value == value for value in values[0] + values[1])
    assert [int(row["step"]) for row in rows(found["implicit"] / "implicit.csv")] == [2, 4, 6]
    assert (found["implicit"] / "figures/implicit.png").exists()


@pytest.mark.parametrize("method", ["darts1", "darts2"])
@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions(run, tiny, tmp_path, method, precision):
    folder = search(run, tiny, tmp_path / "a", f"method={method}", f"hardware.precision={precision}")
    state = torch.load(list_checkpoints(folder / "checkpoints")[0], weights_only=True)["state_dict"]
    expected = torch.float64 if precision == "64-true" else torch.float32
    assert state["method.alpha.normal"].dtype == expected
    assert all(torch.isfinite(v).all() for v in state.values() if isinstance(v, torch.Tensor))


def test_autocast_sees_the_virtual_weights():
    """Half-precision copies of weights must not outlive a change of the weights between two passes."""
    from tests.engine.test_steps import batch, build

    module = build("first_order").float()
    images, labels = batch(0)
    data = images.float(), labels
    with torch.autocast("cpu", torch.bfloat16):
        first = module.loss(data)
        with torch.no_grad():
            for weight in module.weights:
                weight.mul_(1.5).add_(0.1)
        assert module.loss(data) != first
