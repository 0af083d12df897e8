"""`python -m nas.export`: writes a trained network in the forms that others read."""

from nas.running.config import command

main = command("export")

if __name__ == "__main__":
    main()
