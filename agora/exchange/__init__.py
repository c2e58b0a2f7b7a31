"""The order-book exchange: books, accounts with holds, settlement, and the market data derived from them."""
