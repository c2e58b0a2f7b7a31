"""Polymarket: signatures, amounts and messages of its protocol, without IO."""
