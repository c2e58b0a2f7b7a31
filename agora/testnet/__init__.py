"""Loopback servers that speak the protocols of venues and models, with faults on demand."""
