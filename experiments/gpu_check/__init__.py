"""One command for whoever has a GPU: whether all holds on it, and what it reaches (`make gpu-check`)."""
