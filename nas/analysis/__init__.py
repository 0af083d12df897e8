"""Measuring what was found: cost, curvature, pictures."""
