"""Every method in every space: which run and why others do not, said by the parts and shown by commands."""
