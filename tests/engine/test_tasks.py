"""The numbers that people read of a batch of logits."""

import torch

from nas.engine.tasks import Classification


def test_the_right_class_counts_where_it_is_among_the_likeliest():
    logits_BK = torch.tensor(
        [[9.0, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4], [4, 5, 6, 7, 8, 9]]
    )
    labels_B = torch.tensor([0, 4, 5, 0])
    task = Classification()
    assert task.score(logits_BK, labels_B) == 0.25
    assert task.score(logits_BK, labels_B, top=5) == 0.5
    assert task.score(logits_BK, labels_B, top=6) == 1.0
