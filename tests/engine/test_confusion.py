"""What an evaluation counts and writes of its mistakes, and of how many classes."""

import logging
from types import SimpleNamespace

import torch
from sklearn.metrics import confusion_matrix

from nas.analysis.confusion import confusion, read_confusion
from nas.engine.confusion import ConfusionWriter, counted
from nas.engine.pictures import draw_evaluation
from nas.engine.run_folder import RunFolder
from nas.genotype import parse

CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
GENERATOR = torch.Generator().manual_seed(0)
LABELS, ANSWERS = torch.randint(4, (2, 211), generator=GENERATOR)


def test_pairs_are_counted_on_one_part_and_anew_each_time():
    found = counted("test", 4)
    for _ in range(2):
        for labels_B, answers_B in zip(LABELS.split(50), ANSWERS.split(50), strict=True):
            found.update("test", answers_B, labels_B)
            found.update("valid", answers_B, answers_B)
        found.end("valid")
        found.end("test")
        assert found.counts.tolist() == confusion_matrix(LABELS, ANSWERS).tolist()
    assert found.state_dict() == {}


def test_of_how_many_classes_pairs_are_counted(caplog):
    with caplog.at_level(logging.INFO):
        assert counted(None, 4) is None and counted("test", 1) is None and counted("test", 1000) is not None
        assert caplog.text == ""
        assert counted("test", 1001) is None
    assert "no confusion.csv: 1001 classes are more than the 1000" in caplog.text


def test_the_leading_process_writes_after_the_part_that_is_counted(tmp_path):
    found = counted("valid", 2)
    found.update("valid", torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    module, writer = SimpleNamespace(counted=found), ConfusionWriter(RunFolder(tmp_path), ["a,b", "c\nd"])
    leads, follows = (SimpleNamespace(is_global_zero=value) for value in (True, False))
    writer.on_validation_end(leads, module)  # nothing has been summed up yet
    found.end("valid")
    writer.on_test_end(leads, module)
    writer.on_validation_end(follows, module)
    assert list(tmp_path.iterdir()) == []
    writer.on_validation_end(leads, module)
    written = read_confusion(tmp_path / "confusion.csv")
    assert (written.part, written.names, written.counts) == ("valid", ("a,b", r"c\nd"), ((1, 1), (0, 1)))


def test_of_more_than_200_classes_there_is_no_picture_and_it_is_said(tmp_path, caplog):
    folder = RunFolder(tmp_path)
    for classes in (201, 200):
        (folder / "confusion.csv").write_text(confusion("test", None, torch.eye(classes).tolist()).text())
        with caplog.at_level(logging.INFO):
            draw_evaluation(folder, parse(CELL))
        assert (folder.figures / "confusion.png").exists() == (classes == 200)
        assert caplog.text.count("no picture of 201 classes; one has at most 200") == 1
