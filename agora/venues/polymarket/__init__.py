"""Polymarket: its protocol and, one day, its client."""
