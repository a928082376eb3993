"""Foliostream: value, margin and risk of very many portfolios, kept right while prices move."""
