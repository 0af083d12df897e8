"""The authors' numbers: losses, gradients of both orders, and three search steps."""

import pytest

from tests.parity import Parity, main
from tests.shared import shared


@pytest.mark.slow
def test_every_array_is_within_its_bound():
    rows = list(Parity(shared("goldens/darts_cnn_tiny.npz")).rows())
    names = {name for name, _, _ in rows}
    assert len(rows) > 3000
    for needed in (
        "logits_valid_eval",
        "train_grad.alphas_normal",
        "first_order.grad_alphas_reduce",
        "second_order.grad_alphas_normal",
        "second_order.exact_grad_alphas_normal",
        "second_order_mom.grad_alphas_reduce",
        "traj1.alphas_normal",
        "traj2.weights_l2",
    ):
        assert needed in names
    assert [row for row in rows if not row[1] <= row[2]] == []


def test_the_command_refuses_a_missing_file(capsys):
    with pytest.raises(SystemExit) as end:
        main(["nowhere.npz"])
    assert end.value.code == 2
    assert "no such file" in capsys.readouterr().err
