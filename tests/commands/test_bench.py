"""`python -m nas.bench` and `nas.search plan=true` as a user types them. Times are never asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import command_line
from tests.forks import finish

ROOT = Path(__file__).resolve().parents[2]
SPREADS = (
    "weight_seconds", "first_order_seconds", "second_order_seconds", "validation_seconds",
    "evaluation_seconds", "inference_seconds",
)  # fmt: skip
OTHER_LAYOUT = ("reference_evaluation_channels_last_seconds", "reference_inference_channels_last_seconds")
RATIOS = (
    "weight_ratio", "first_order_ratio", "second_order_ratio", "second_over_first", "bytes_ratio",
    "operators_ratio", "gpu_bytes_ratio", "gpu_operators_ratio", "validation_ratio", "evaluation_ratio",
    "inference_ratio", "data_ratio",
)  # fmt: skip
NUMBERS = (
    "bytes_saved", "operators", "operators_with_views", "gflops", "gflops_matmul", "peak_memory",
    "images_per_second", "params", "macs", "threads", "batch_size",
)  # fmt: skip
FAST = ("debug=fast", "dataset=digits", "bench.matmul_size=64")


def nas(command, *overrides, folder=None):
    run_dir = [f"hydra.run.dir={folder}"] if folder else []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return finish(command_line(command, *overrides, *run_dir), timeout=300, env=environment)


def test_debug_fast_writes_every_key(tmp_path):
    done = nas(
        "bench",
        *FAST,
        "bench.data_seconds=0.05",
        "bench.reference=true",
        "bench.evaluation=true",
        "bench.validation=true",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    for key in (*SPREADS, *(f"reference_{key}" for key in SPREADS), *OTHER_LAYOUT, "data_images_per_second"):
        assert set(found[key]) == {"median", "min", "max", "n"} and found[key]["median"] > 0
    assert all(found[key] > 0 for key in (*RATIOS, *NUMBERS))
    assert found["operators_ratio"] == found["operators"] / found["reference_operators"]
    assert found["bytes_ratio"] == found["bytes_saved"] / found["reference_bytes_saved"]
    # Of evaluations the original counts in the memory format that suits it.
    for step in ("evaluation", "inference"):
        keys = (f"reference_{step}_seconds", f"reference_{step}_channels_last_seconds")
        fastest = min(found[key]["median"] for key in keys)
        assert found[f"{step}_ratio"] == fastest / found[f"{step}_seconds"]["median"]
    assert found["evaluation_reference"] == "tests.reference.literal_network.LiteralDartsNetwork"
    assert {"torch", "python"} <= set(found["versions"])
    assert (found["space"], found["dataset"], found["hardware"]) == ("darts", "digits", "cpu")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "finished" and summary["command"] == "bench"
    assert "share" in done.stdout


def test_the_space_of_dso_against_its_reference_and_as_connections_die(tmp_path):
    done = nas(
        "bench", *FAST, "space=dso_small", "bench.reference=true", "bench.data=false",
        "bench.alive=[1.0,0.25]", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    assert (found["method"], found["steps_left_out"]) == ("dsonas", ["second_order"])
    assert "dsonas has none" in done.stdout
    assert "second_order_seconds" not in found
    assert all(found[f"{step}_ratio"] > 0 for step in ("weight", "first_order"))
    assert found["operators_ratio"] < 0.4 and found["bytes_ratio"] < 1
    whole, few = found["alive"]
    assert (whole["connections"], whole["connections_of"]) == (72, 72)
    assert few["connections"] <= 18
    for key in ("params", "macs", "operators", "bytes_saved"):
        assert whole[key] == found[key] > 2 * few[key]
    for entry in (whole, few):
        assert entry["weight_seconds"]["median"] > 0 and entry["first_order_seconds"]["n"] == 2


def test_the_recurrent_space_against_its_literal_networks(tmp_path):
    done = nas(
        "bench", "debug=fast", "space=darts_rnn", "dataset.bptt.steps=3", "recipe.hidden_size=4",
        "bench.matmul_size=64", "bench.evaluation_batch_size=4", "bench.reference=true",
        "bench.evaluation=true", "bench.validation=true", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    names = [found[key] for key in ("space", "method", "dataset", "batch_size")]
    assert names == ["darts_rnn", "darts2_rnn", "wikitext_mini", 16]
    for key in (*SPREADS, *(f"reference_{key}" for key in SPREADS)):
        assert found[key]["median"] > 0 and found[key]["n"] == 2
    images = ("images_per_second", "data_ratio")
    assert all(found[key] > 0 for key in (*RATIOS, *NUMBERS) if key not in images)
    assert not set(images) & set(found)
    assert found["words_per_second"] == pytest.approx(16 * 3 / found["weight_seconds"]["median"])
    # Embedding and bias of 3,867 words, the matrix of the first state, those of 3 nodes; 4 units.
    assert found["params"] == 3867 * (4 + 1) + 8 * 8 + 3 * 4 * 8
    assert found["operators_ratio"] < 0.5 and "words/s" in done.stdout


CELL = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"


def test_an_evaluation_network_alone_beside_the_literal_one_of_its_space(run, tmp_path):
    done = run(
        "bench", *FAST, "space=nasbench201", "recipe=nasbench201", "recipe.cells_per_stage=1",
        f"genotype='{CELL}'",
        "bench.evaluation=true", "bench.validation=true", "bench.steps=[]", "bench.data=false",
        "bench.evaluation_batch_size=4", f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["evaluation_reference"] == "tests.reference.literal_nasbench201.LiteralNasBench201Network"
    assert found["evaluation_ratio"] > 0 and found["inference_ratio"] > 0
    # Without bench.reference=true the validation is measured, and there is nothing to relate it to.
    assert found["validation_seconds"]["n"] == 2 and "validation_ratio" not in found
    assert "weight_seconds" not in found and "in channels-last" in done.out


def test_a_space_without_a_literal_evaluation_network_is_measured_without_its_kernel(run, tmp_path):
    given = (*FAST[:2], "space=dso_small", "recipe=dso_cifar10", "recipe.auxiliary_weight=0")
    done = run("search", *given, "method=dsonas_random", f"hydra.run.dir={tmp_path / 'drawn'}")
    assert done.status == 0, done.err
    done = run(
        "bench", *given, f"genotype={tmp_path / 'drawn'}", "bench.matmul_size=64", "bench.steps=[]",
        "bench.evaluation=true", "bench.data=false", "bench.evaluation_batch_size=4",
        f"hydra.run.dir={tmp_path / 'bench'}",
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    found = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert found["evaluation_reference"] == "our network, without our kernel"
    assert found["evaluation_ratio"] > 0 and "reference_inference_channels_last_seconds" in found


def test_every_stage_of_a_search_in_stages(run, tmp_path):
    done = run(
        "bench", *FAST, "space=nasbench201", "method=drnas_nb201_progressive", "bench.data=false",
        "bench.steps=[weight]", f"hydra.run.dir={tmp_path}",
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    found = json.loads((tmp_path / "bench.json").read_text())
    first, second = found["stages"]
    assert [(one["stage"], one["partial"]) for one in found["stages"]] == [(1, 4), (2, 2)]
    # Six edges, five candidates on each, of which the second stage keeps three.
    assert [(one["candidates"], one["candidates_of"]) for one in found["stages"]] == [(30, 30), (18, 30)]
    for key in ("params", "macs", "operators", "bytes_saved", "weight_seconds"):
        assert first[key] == found[key] != second[key], key
    # Twice the channels weigh more than two candidates less.
    assert second["macs"] > first["macs"] and second["weight_seconds"]["n"] == 2
    assert "the stages of this search" in done.out


def test_counts_can_be_had_of_one_step_alone(tmp_path):
    done = nas("bench", *FAST, "bench.steps=[weight]", "bench.data=false", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["operators"] > 0 and "second_order_seconds" not in found and "weight_ratio" not in found


def test_what_an_epoch_adds_to_its_steps(tmp_path):
    done = nas(
        "bench", *FAST, "bench.loop=true", "bench.steps=[]", "bench.data=false", "bench.loop_steps=3",
        "bench.loop_rounds=1", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    for key in ("loader_overhead", "loop_overhead", "record_seconds_per_epoch", "record_overhead"):
        assert set(found[key]) == {"median", "min", "max", "n"}
    assert (found["loop_steps"], found["epoch_steps"]) == (3, 45)
    assert "an epoch of 45 steps" in done.stdout
    assert not list(tmp_path.glob("tmp*"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("bench.loop_rounds=0", "bench.loop_rounds=0"),
        ("bench.steps=[third_order]", "third_order"),
        ("bench.rounds=0", "bench.rounds=0"),
        ("bench.reference_target=tests.nowhere.Literal", "tests folder of a checkout"),
        ("method=random", "trains nothing"),
        ("hardware.precision=16-mixed", "hardware.precision=16-mixed"),
        ("resume=somewhere", "resume=somewhere"),
        ("space=dso_small method=darts1", "one candidate per edge"),
        ("space=dso_small bench.steps=[second_order]", "method=dsonas has none of them"),
        ("space=dso_small bench.alive=[0]", "bench.alive: 0 is not a share"),
        ("bench.alive=[0.5]", "choose method=dsonas"),
        ("space=darts_rnn", "space=darts_rnn: its networks read text"),
        ("space=darts_rnn dataset=wikitext_mini bench.data=true", "bench.data=true: space=darts_rnn"),
        ("space=darts_rnn dataset=wikitext_mini bench.loop=true", "bench.loop=true: it measures"),
        ("space=darts_rnn dataset=wikitext_mini bench.alive=[0.5]", "have no matrices of their own"),
        ("space=darts_rnn dataset=wikitext_mini space.tied=false", "the literal network ties"),
    ],
)
def test_mistakes_are_one_message(run, tmp_path, override, words):
    given = ("debug=fast", "traceback=false", "dataset=digits", "bench.reference=true", *override.split())
    place = () if override.startswith("resume") else (f"hydra.run.dir={tmp_path}",)
    done = run("bench", *given, *place)
    assert done.status == 2
    assert words in done.err and "Traceback" not in done.err
    if "tests.nowhere" in override:
        assert done.err.count("\n") == 1 and done.out == ""


def test_missing_images_are_one_message(run, tmp_path):
    place = f"hydra.run.dir={tmp_path / 'run'}"
    done = run("bench", "bench.data=true", f"dataset.root={tmp_path / 'none'}", place)
    assert done.status == 2
    assert "none" in done.err and "Traceback" not in done.err


def test_help_imports_no_torch():
    code = (
        "import sys; sys.argv = ['nas.bench', '--help']\n"
        "from nas.bench import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules, 'torch'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "nas.bench" in done.stdout


def test_a_plan_counts_what_a_selection_takes(run):
    """100 architectures on one batch, of a search with two batches of validation an epoch."""
    given = ("plan=true", "debug=fast", "dataset=digits", "space=nasbench201", "method=rsps")
    done = run("search", *given)
    assert done.status == 0, done.err
    (passes,) = (one for one in done.out.splitlines() if "passes to select" in one)
    assert "each a validation" in passes and "at most 100 " in passes
    assert "the selection, beside epochs" in done.out and "the whole search" in done.out


@pytest.mark.parametrize("method", ["darts1", "random"])
def test_a_plan_prints_and_writes_nothing(run, tmp_path, method):
    folder = tmp_path / "run"
    given = ("plan=true", "debug=fast", "dataset=digits", f"method={method}", f"hydra.run.dir={folder}")
    done = run("search", *given)
    assert done.status == 0, done.err
    assert "multiply-adds per image" in done.out
    assert ("the whole search" in done.out) == (method != "random")
    assert not folder.exists()
