"""`python -m nas.dashboard`: a saved workspace of Weights & Biases for the runs of a project."""

from nas.running.config import command

main = command("dashboard")

if __name__ == "__main__":
    main()
