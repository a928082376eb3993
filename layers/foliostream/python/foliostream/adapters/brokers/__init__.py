"""Brokers, one module each."""
