"""`python -m nas.sweeps`: the table of a folder of runs; a multirun makes it by itself when it ends.

Everything is read from the run folders, so it does not matter which process, or which machine, ran a job.
"""

from nas.running.config import command

main = command("sweeps")

if __name__ == "__main__":
    main()
