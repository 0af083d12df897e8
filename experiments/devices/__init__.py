"""Searches for six devices within three budgets each, held against the true constrained optimum."""
