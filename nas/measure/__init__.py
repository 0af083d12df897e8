"""Time and memory of the steps that are trained."""
