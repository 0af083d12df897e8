"""What the papers claim of collapse in NAS-Bench-201, asked again at a scale that two processors carry."""
