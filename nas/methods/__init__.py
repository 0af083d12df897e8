"""Search methods: how an architecture is found."""
