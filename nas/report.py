"""`python -m nas.report`: a page of a run, a sweep or a protocol, and an index of a folder of runs."""

from nas.running.config import command

main = command("report")

if __name__ == "__main__":
    main()
