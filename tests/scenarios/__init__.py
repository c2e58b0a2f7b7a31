"""Whole runs: crashes, faults, planted bugs, real processes."""
