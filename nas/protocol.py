"""`python -m nas.protocol`: a row of a table, from searches to test figures, run by run."""

from nas.running.config import command

main = command("protocol")

if __name__ == "__main__":
    main()
