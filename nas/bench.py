"""`python -m nas.bench`: what a search step costs, against the literal supernet and the machine's best."""

from nas.running.config import command

main = command("bench")

if __name__ == "__main__":
    main()
