"""One module a use case; each takes its ports as arguments."""
