"""The authors' numbers: losses, gradients of both orders, and three search steps."""

import numpy as np
import pytest

from tests.parity import Parity, main
from tests.shared import shared


@pytest.mark.parametrize(
    ("part", "arrays", "needed"),
    [
        ("passes", 2393, ("logits_valid_eval", "train_grad.alphas_normal")),
        ("first_order", 4, ("first_order.grad_alphas_reduce",)),
        ("second_order", 729, ("second_order.grad_alphas_normal", "second_order.exact_grad_alphas_normal")),
        ("second_order_mom", 2, ("second_order_mom.grad_alphas_reduce",)),
        ("traj1", 5, ("traj1.alphas_normal",)),
        ("traj2", 5, ("traj2.weights_l2",)),
    ],
)
def test_every_array_is_within_its_bound(part, arrays, needed):
    rows = list(Parity(shared("goldens/darts_cnn_tiny.npz")).rows(part))
    assert len(rows) == arrays
    assert set(needed) <= {name for name, _, _ in rows}
    assert [row for row in rows if not row[1] <= row[2]] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file"),
        (
            {"x": np.zeros(2), "k1.logits": np.zeros(2)},
            "no reference numbers of a DARTS supernet (it lacks x_train",
        ),
        (np.zeros(2), "no .npz file"),
        (b"text", "no .npz file"),
    ],
)
def test_the_command_refuses_what_it_cannot_compare(content, words, tmp_path, capsys):
    path = tmp_path / "numbers.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with path.open("wb") as file:
            np.savez(file, **content) if isinstance(content, dict) else np.save(file, content)
    with pytest.raises(SystemExit) as end:
        main([str(path)])
    assert end.value.code == 2
    assert words in capsys.readouterr().err
