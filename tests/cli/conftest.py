"""A home for each test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """AGORA_HOME of one test; made by the command that needs it."""
    return tmp_path / "home"
