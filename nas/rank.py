"""`python -m nas.rank`: zero-cost measures of architectures, and how far they rank as training does."""

from nas.running.config import command

main = command("rank")

if __name__ == "__main__":
    main()
