"""Bitunix USDT-M perpetual futures: its words, its client, its market data, and a venue that trades there."""
