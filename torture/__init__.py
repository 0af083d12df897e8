"""Faults by the thousand: what docs/reliability.md promises, tried. `python -m torture --help`."""
