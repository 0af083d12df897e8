"""`python -m nas.latency`: how long operations and networks take on this device, as a table to look up."""

from nas.running.config import command

main = command("latency")

if __name__ == "__main__":
    main()
