"""What a step costs beside the literal networks, as one table."""
