"""Decides. Pure: no IO, no clock, no randomness, no asyncio."""
