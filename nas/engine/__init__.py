"""The Lightning layer: training loops for searches and evaluations, and what they leave in a run folder."""
