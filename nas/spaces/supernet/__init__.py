"""What supernets are made of: all candidates of all edges that leave a node."""
