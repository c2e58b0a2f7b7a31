"""The command line: parses, prints, exits. Holds no rules of trading; imports what is heavy only when it is used."""

from agora.cli.app import main

__all__ = ["main"]
