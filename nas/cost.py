"""`python -m nas.cost`: parameters and multiply-adds of a genotype's network, without training or data."""

from nas.running.config import command

main = command("cost")

if __name__ == "__main__":
    main()
