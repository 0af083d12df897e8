"""`python -m nas.derive`: architectures from a search's learnt distribution that keep a budget, ranked."""

from nas.running.config import command

main = command("derive")

if __name__ == "__main__":
    main()
