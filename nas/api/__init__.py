"""What `import nas` gives: a search, an evaluation and their results without the command line.

The package exports these names itself, and imports this room when one of them is asked for.
"""
