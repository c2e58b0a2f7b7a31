"""Secrets: where they come from, who may read them, and that they are not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from agora.config import load_config
from agora.domain.errors import UsageFault
from agora.session.credentials import Secret, is_secret_variable, masked_url, read_secret

KEY = "AGORA_LLM__API_KEY"


@pytest.mark.requirement("B51")
def test_a_secret_comes_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    """The variable wins; the file is read when its owner alone can; neither: there is none."""
    path = tmp_path / "key"
    path.write_text("from-file\n")
    path.chmod(0o600)
    assert read_secret({}, KEY) is None
    by_file = read_secret({f"{KEY}_FILE": str(path)}, KEY)
    assert by_file is not None
    assert by_file.reveal() == "from-file"
    both = read_secret({KEY: " from-variable ", f"{KEY}_FILE": str(path)}, KEY)
    assert both is not None
    assert both.reveal() == "from-variable"


@pytest.mark.requirement("B51")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The message says what to do, and not what is in the file."""
    path = tmp_path / "key"
    path.write_text("canary-1234")
    path.chmod(mode)
    with pytest.raises(UsageFault, match="chmod 600") as refusal:
        read_secret({f"{KEY}_FILE": str(path)}, KEY)
    assert "canary" not in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """Both name the variable that points there."""
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageFault, match="API_KEY_FILE"):
            read_secret({f"{KEY}_FILE": str(path)}, KEY)


@pytest.mark.requirement("B53")
def test_a_secret_shows_itself_to_nobody_by_accident() -> None:
    """Text, representation and containers show a mask."""
    secret = Secret("canary-5678")
    assert "canary" not in f"{secret} {secret!r} {[secret]} { ({'key': secret}) }"
    assert secret.reveal() == "canary-5678"


def test_secrets_are_no_settings() -> None:
    """Their variables stand beside settings of the same section without being an unknown key."""
    assert is_secret_variable(KEY)
    assert is_secret_variable(f"{KEY}_FILE")
    assert not is_secret_variable("AGORA_LLM__MODEL")
    config = load_config({KEY: "canary-9"}, {}, [])
    assert "canary" not in str(config.values())


@pytest.mark.requirement("B53")
def test_the_password_of_a_database_stays_out_of_the_tree() -> None:
    """The tree, its hash and its printing know the URL without the password; the secrets hold it whole."""
    url = "postgresql://user:canary-7@localhost:5432/book"
    config = load_config({"AGORA_MARKET__LEDGER_URL": url}, {}, [])
    assert config["market"].ledger_url == "postgresql://user:***@localhost:5432/book"
    assert "canary" not in str(config.values())
    assert "canary" not in str(config)
    assert config.secrets["market.ledger_url"].reveal() == url
    other = load_config({"AGORA_MARKET__LEDGER_URL": url.replace("canary-7", "other")}, {}, [])
    assert other.config_hash() == config.config_hash()


@pytest.mark.parametrize("url", ["", "sqlite:///book.sqlite", "http://127.0.0.1:1/v1", "postgresql://user@h/book"])
def test_a_url_without_a_password_is_kept(url: str) -> None:
    """Nothing is masked where nothing is secret."""
    assert masked_url(url) == url
