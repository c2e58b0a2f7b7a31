"""Agora: programs that trade unattended, on a market of their own, on recordings and on venues."""

__version__ = "0.1.0"
