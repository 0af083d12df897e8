"""What each command does; `python -m nas.<command>` and the API call the same functions."""
