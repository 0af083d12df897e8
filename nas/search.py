"""`python -m nas.search`: searches an architecture and writes a run folder."""

from nas.running.config import command

main = command("search")

if __name__ == "__main__":
    main()
