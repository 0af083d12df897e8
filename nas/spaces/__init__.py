"""Search spaces: what can be found."""
