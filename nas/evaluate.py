"""`python -m nas.evaluate`: trains a genotype's network from scratch and tests it once at the end."""

from nas.running.config import command

main = command("evaluate")

if __name__ == "__main__":
    main()
