"""The machine under a training: hardware, numerics, memory, processes."""
