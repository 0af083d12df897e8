"""Hardware as a user types it: runs that cannot fit, plans without the card, images at rest."""

import filecmp
import json

from omegaconf import OmegaConf

from nas.measure import plan, planned_steps
from nas.running import session


def test_a_run_that_cannot_fit_is_refused_before_anything_is_written(run, tiny, tmp_path):
    folder = tmp_path / "run"
    small = ("hardware.memory_gib=0.4", "hardware.native=false", f"hydra.run.dir={folder}")
    done = run("search", *tiny, *small)
    assert done.status == 2
    assert "hardware=cpu: a step needs about" in done.err and "hardware.check_memory=false" in done.err
    assert not (folder / "config.yaml").exists()
    done = run("evaluate", *tiny[3:], "genotype=DARTS_V2", *small)
    assert done.status == 2 and "not even dataset.batch_size=1" in done.err
    assert not (folder / "config.yaml").exists()


def test_the_estimate_of_what_fits_is_a_column_of_a_sweep(run, tiny, tmp_path):
    folder = tmp_path / "run"
    limit = ("hardware.memory_gib=4", "hardware.native=false", f"hydra.run.dir={folder}")
    done = run("search", *tiny, *limit)
    assert done.status == 0, done.err
    needed = json.loads((folder / "summary.json").read_text())["memory_estimated"]
    assert 0 < needed < 4 * 2**30
    done = run("sweeps", f"folder={tmp_path}")
    assert done.status == 0, done.err
    table = (tmp_path / "table.md").read_text()
    assert "memory_estimated [MB]" in table and f" {needed / 1e6:.0f} " in table


def test_what_fits_a_card_is_planned_without_it(run, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "SECONDS", 600.0)  # however busy the machine is
    done = run("search", *tiny, "hardware=gtx1080ti", "plan=true", f"hydra.run.dir={tmp_path / 'plan'}")
    assert done.status == 0, done.err
    assert "10.9: fits" in done.out and "largest dataset.batch_size that fits" in done.out
    assert not (tmp_path / "plan").exists()


def test_images_at_rest_give_the_same_run(run, tiny, tmp_path):
    folders = [tmp_path / rest for rest in ("false", "true")]
    for folder in folders:
        done = run("search", *tiny, f"hardware.resident={folder.name}", f"hydra.run.dir={folder}")
        assert done.status == 0, done.err
    one, other = (folder / "architecture.csv" for folder in folders)
    assert filecmp.cmp(one, other, shallow=False)


def test_the_number_of_threads_is_recorded_and_a_resumed_run_keeps_it(
    run, tiny, tmp_path, monkeypatch, caplog
):
    taken = []
    monkeypatch.setattr("torch.set_num_threads", taken.append)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run("search", *tiny, f"hydra.run.dir={tmp_path}").status == 0

    def recorded():
        config = OmegaConf.load(tmp_path / "config.yaml").hardware.threads
        return config, json.loads((tmp_path / "summary.json").read_text())["threads"]

    assert recorded() == (3, 3)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(session, "processors", lambda: 2)
    more = ("trainer.max_epochs=2", "resume_schedule=restart")
    done = run("search", f"resume={tmp_path}", *more)
    assert done.status == 0, done.err
    assert recorded() == (3, 3) and taken == [3, 3]
    said = done.out + done.err + caplog.text
    assert "started with hardware.threads=3" in said and "this process may use 2" in said


def test_a_plan_keeps_to_the_free_memory(run, tmp_path, monkeypatch):
    """Images of 224 pixels behind a stem that keeps their size: what was killed by the system before."""
    words = ("dataset=imagenet", "recipe=imagenet", "dataset.batch_size=4096", "plan=true")
    words += ("space.num_cells=3", "space.init_channels=4", f"hydra.run.dir={tmp_path / 'plan'}")
    monkeypatch.setenv("COLUMNS", "200")
    for module in (plan, planned_steps):
        monkeypatch.setattr(module, "free_bytes", lambda device: 2**22)
    monkeypatch.setattr(planned_steps, "ROUNDS", 1)
    monkeypatch.setattr(plan, "SECONDS", 600.0)  # however busy the machine is
    done = run("search", *words)
    assert done.status == 0, done.err
    assert "GiB of 0.0 free: does not fit" in done.out
    assert "weight step, extrapolated from 2 images of 32x32" in done.out
    assert "peak memory at batch" not in done.out and not (tmp_path / "plan").exists()
