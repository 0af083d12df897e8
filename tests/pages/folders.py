"""Run folders as a search leaves them, written by hand: tests of pages need no search."""

import json
from pathlib import Path

CELL = "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
SUMMARY = {
    "schema": 1, "command": "search", "status": "finished", "space": "nasbench201", "method": "drnas_nb201",
    "dataset": "digits", "recipe": "digits_nasbench201", "hardware": "cpu", "seed": 3, "seconds": 7384.0,
    "device": "a processor", "threads": 1, "versions": {"torch": "2.6"}, "git_commit": "c0ffee",
    "split_hash": "5317ab", "epochs": 3, "steps": 30, "params": 3_354_321, "macs": 17_000_000,
    "architecture_accuracy": 0.5, "weight_loss": 1.25, "num_skip": 2,
}  # fmt: skip


def write_search(folder: Path, epochs: int = 3, name: str = "skip_connect", **summary: object) -> Path:
    """A search of NAS-Bench-201 cells.

    Args:
        folder: is made.
        epochs: rows of its tables.
        name: what the second operation is called.
        summary: keys of `summary.json` that differ from `SUMMARY`.
    """
    from nas.genotype import parse

    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(SUMMARY | summary))
    (folder / "genotype.json").write_text(parse(CELL).to_json())
    (folder / "overrides.yaml").write_text("- space=nasbench201\n- seed=3\n")
    (folder / "config.yaml").write_text("command: search\nseed: 3\nspace: {name: nasbench201}\n")
    names = [name if one == "skip_connect" else one for one in OPERATIONS]
    rows = ["epoch,group,source,target,operation,weight"]
    for epoch in range(epochs):
        for source, target in EDGES:
            weights = [0.2 + 0.02 * epoch, 0.2 - 0.02 * epoch, 0.2, 0.2, 0.2]
            rows += [
                f"{epoch},cell,{source},{target},{one},{w}" for one, w in zip(names, weights, strict=True)
            ]
    (folder / "architecture.csv").write_text("\n".join(rows) + "\n")
    lines = [json.dumps({"epoch": epoch, "genotype": CELL}) for epoch in range(epochs)]
    (folder / "genotypes.jsonl").write_text("\n".join(lines) + "\n")
    metrics = [
        "epoch,weight_loss,architecture_accuracy,table_accuracy,learning_rate,num_skip,hessian_eigenvalue"
    ]
    metrics += [f"{epoch},{2 - epoch / 3},{epoch / 6},0.9,0.1,1,{0.1 * epoch}" for epoch in range(epochs)]
    (folder / "metrics.csv").write_text("\n".join(metrics) + "\n")
    return folder
