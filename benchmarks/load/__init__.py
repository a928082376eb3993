"""``make load``: many portfolios, symbols, ticks, fills and sockets on the local cloud for minutes."""
