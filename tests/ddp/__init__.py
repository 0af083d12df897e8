"""Several processes of one run, started as users start them."""
