"""Do searched cells beat random ones on the digits? Search x seeds, random x seeds, every cell evaluated
once.

    python -m experiments.start.digits --seeds 5 --folder outputs/experiments/start_digits

Each search is `experiment=start/digits`; each evaluation `experiment=start/evaluate_digits` with the
search's seed. Writes `table.md` and `comparison.png` into the folder. Stop it and start it again: finished
steps are kept.
"""

import argparse
from pathlib import Path

from experiments.pipeline import markdown, run_step, spread
from nas.analysis import plots
from nas.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="seeds of every method")
    parser.add_argument("--folder", type=Path, default=Path("outputs/experiments/start_digits"))
    parser.add_argument("--methods", nargs="+", default=["random", "darts1", "darts2"])
    parser.add_argument(
        "overrides", nargs="*", help="more overrides of every step, such as hardware.threads=1"
    )
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    found: dict[str, list[dict]] = {method: [] for method in arguments.methods}
    for seed in range(arguments.seeds):
        for method in arguments.methods:
            place = folder / method / f"seed{seed}"
            search = ["experiment=start/digits", f"method={method}", f"seed={seed}", *arguments.overrides]
            run_step("search", place / "search", search)
            evaluate = ["experiment=start/evaluate_digits", f"genotype={place / 'search'}", f"seed={seed}"]
            found[method].append(run_step("evaluate", place / "evaluate", [*evaluate, *arguments.overrides]))
    accuracies = {method: [100 * run["test_accuracy"] for run in runs] for method, runs in found.items()}
    rows = [
        {
            "method": method,
            "test accuracy (%)": spread(accuracies[method]),
            "lowest to highest": f"{min(accuracies[method]):.2f} to {max(accuracies[method]):.2f}",
            "parameters (M)": spread([run["params"] / 1e6 for run in runs]).split(" (")[0],
        }
        for method, runs in found.items()
    ]
    write_text(folder / "table.md", markdown(rows), parents=True)
    plots.draw_comparison(
        accuracies, folder / "comparison.png", "test accuracy (%)", "Digits, one evaluation a cell"
    )
    print(markdown(rows))


if __name__ == "__main__":
    main()
