"""A compiled kernel for separable convolutions on the CPU: optional, built on first use, equal results."""
