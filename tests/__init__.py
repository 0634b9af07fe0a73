"""The tests. Each file holds the promises of one room."""
