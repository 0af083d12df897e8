"""Run folders of earlier versions: what they hold that is gone, and what becomes of it."""

import pytest
from omegaconf import OmegaConf

from nas.errors import ConfigError
from nas.running.older import read_now
from tests.methods.flat import flat_method


def test_a_widening_that_is_gone_is_refused_when_it_is_typed():
    with pytest.raises(ConfigError, match=r"method\.widen=independent: .*code .*shared"):
        flat_method("m", {"cell": (2, 3)}, widen="independent")


@pytest.mark.parametrize(("stages", "told"), [([{"epochs": 1}], True), (None, False)])
def test_a_saved_one_is_read_as_the_authors_code(stages, told, caplog):
    """Said where the run goes on and may yet be widened; a search of one piece never is."""
    saved = OmegaConf.create({"method": {"widen": "independent", "stages": stages}})
    assert read_now(saved.copy(), "resume=here", continued=True).method.widen == "code"
    assert ("resume=here: its config.yaml has method.widen=independent" in caplog.text) == told
    caplog.clear()
    assert read_now(saved, "run=here").method.widen == "code" and not caplog.text


@pytest.mark.parametrize(
    "other", [{}, {"method": None}, {"method": "drnas"}, {"method": {"widen": "shared"}}]
)
def test_what_is_not_older_stays(other):
    assert read_now(OmegaConf.create(other), "run=here") == other


def test_a_run_in_the_middle_of_its_stages_says_how_it_goes_on(run, tmp_path):
    """Stopped after its first stage by a version that drew every axis by itself."""
    command = ("debug=fast", "method=drnas_nb201_progressive", "space=nasbench201")
    assert run("search", *command, f"hydra.run.dir={tmp_path}").status == 0
    (tmp_path / "checkpoints" / "epoch=0002.ckpt").unlink()
    config = OmegaConf.load(tmp_path / "config.yaml")
    assert config.method.widen == "code"
    config.method.widen = "independent"
    OmegaConf.save(config, tmp_path / "config.yaml")
    done = run("search", f"resume={tmp_path}")
    assert done.status == 0
    assert "a stage that begins from here on is widened as the authors' code does" in done.out + done.err
    assert OmegaConf.load(tmp_path / "config.yaml").method.widen == "code"
    typed = ("method.widen=independent", "traceback=false", f"hydra.run.dir={tmp_path / 'new'}")
    refused = run("search", *command, *typed)
    assert refused.status == 2 and "method.widen=independent" in refused.err and refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "augment"),
    [
        (
            {"_target_": "nas.data.folder.ImageFolder", "color_jitter": None},
            {"pad": 0, "flip": True, "crop": [0.08, 1.0], "jitter": None},
        ),
        (
            {"_target_": "nas.data.digits.Digits"},
            {"pad": 0, "flip": False, "crop": None, "jitter": None},
        ),
    ],
)
def test_what_was_drawn_of_images_is_said_of_a_run_from_before_there_were_keys(source, augment):
    older = {"dataset": {"source": source, "augment": {"pad": 0, "flip": False}}}
    found = read_now(OmegaConf.create(older), "run=here").dataset
    assert found.augment == augment
    of_files = {"crop": [0.08, 1.0], "flip": True, "check": False}
    assert found.source == source | (of_files if "color_jitter" in source else {})
