"""What is searched on: images or text, and everything that follows from it."""
