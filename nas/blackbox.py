"""`python -m nas.blackbox`: searches that see an architecture's figure alone, on the table of a benchmark."""

from nas.running.config import command

main = command("blackbox")

if __name__ == "__main__":
    main()
