"""The frame of a command: configuration, what a run folder may name, session, multiruns."""
