"""Measures Agora and prints one JSON object: `make bench`. Never part of the tests."""
