"""The numbers that people read of a batch of logits."""

import torch

from nas.engine.tasks import Classification


def test_the_right_class_counts_where_it_is_among_the_likeliest():
    logits_BK = torch.tensor(
        [[9.0, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4], [4, 5, 6, 7, 8, 9]]
    )
    labels_B = torch.tensor([0, 4, 5, 0])
    task = Classification()
    found = task.measure(lambda images: (images, None), (logits_BK, labels_B)).scores
    assert found == {"accuracy": 0.25, "top5_accuracy": 0.5}
    assert task.run(lambda images: images, (logits_BK, labels_B)).scores == {"accuracy": 0.25}
    # Of five classes or fewer every answer is among the five likeliest.
    few = (logits_BK[:, :5], labels_B.clamp(max=4))
    assert task.measure(lambda images: (images, None), few).scores == {"accuracy": 0.25}
