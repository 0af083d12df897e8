"""torchrun, all of it, but its processes are forks that need not import everything again.

python -m tests.ddp.torchrun --standalone --nproc-per-node=2 -m nas.search ...
"""

import sys

from torch.distributed import run

from tests.forks import execute


def module(name: str, *arguments: str) -> None:
    """What a process of torchrun's does."""
    execute([sys.executable, "-m", name, *arguments])


def main() -> None:
    read = run.config_from_args

    def config_from_args(args):
        config, _, _ = read(args)
        return config, module, [args.training_script, *args.training_script_args]

    run.config_from_args = config_from_args
    run.main(["--start-method=fork", *sys.argv[1:]])


if __name__ == "__main__":
    main()
