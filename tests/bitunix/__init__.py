"""Whole live runs against the Bitunix testnet."""
