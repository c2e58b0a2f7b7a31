"""The settlement kernel against its plain twin on seeded random commands, a million of them under audit, and bugs
planted to see the audit speak.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from agora.kernels import matching as k
from agora.kernels import settlement_layout as layout
from agora.kernels.settlement_audit import FAULTS, SOUND
from tests.kernels.exchange_twin import ExchangeTwin
from tests.kernels.settlement_streams import (
    ACCOUNTS,
    ASSETS,
    ORDER_CAPACITY,
    Exchange,
    cash_at,
    populated,
    position_at,
    random_commands,
)

ROOT = Path(__file__).resolve().parents[2]
IS_COMPILED = not numba.config.DISABLE_JIT
# Uncompiled the kernel is some hundred times slower, so fewer and shorter streams keep the test in seconds.
TWIN_SEEDS, TWIN_COMMANDS = (range(12), 3_000) if IS_COMPILED else (range(2), 600)
REACH_COMMANDS = 50_000 if IS_COMPILED else 8_000
AUDIT_SEEDS, AUDIT_COMMANDS = (range(5), 250_000) if IS_COMPILED else (range(1), 1_500)


def twin_of(exchange: Exchange) -> ExchangeTwin:
    """A twin whose accounts own the same."""
    twin = ExchangeTwin(ASSETS, order_capacity=ORDER_CAPACITY, account_capacity=ACCOUNTS)
    words = exchange.accounts
    for account in range(ACCOUNTS):
        twin.open(
            [int(words[cash_at(words, account, currency)]) for currency in range(2)],
            [int(words[position_at(words, account, asset)]) for asset in range(len(ASSETS))],
        )
    return twin


def kernel_account(exchange: Exchange, account: int) -> list[list[int]]:
    """Cash, held and margin per currency; then lots, cost, realised profit, fees and trades per asset."""
    words = exchange.accounts
    found = [words[(at := cash_at(words, account, currency)) : at + 3].tolist() for currency in range(2)]
    wanted = [layout.LOTS, layout.COST, layout.REALISED, layout.FEES_PAID, layout.TRADES]
    for asset in range(len(ASSETS)):
        at = position_at(words, account, asset)
        found.append([int(words[at + word]) for word in wanted])
    return found


def twin_account(twin: ExchangeTwin, account: int) -> list[list[int]]:
    """The same of the twin."""
    own = twin.accounts[account]
    found = []
    for currency, cash in enumerate(own.cash):
        assets = [asset for asset, facts in enumerate(ASSETS) if facts.currency == currency]
        held = sum(twin.held(asset, account) for asset in assets)
        found.append([cash, held, sum(twin.margin(asset, account) for asset in assets)])
    return found + [[each.lots, each.cost, each.realised, each.fees, each.trades] for each in own.positions]


@pytest.mark.parametrize("seed", TWIN_SEEDS)
def test_kernel_and_twin_write_the_same_rows_and_end_with_the_same_accounts(seed: int) -> None:
    """Over a random stream every row with its fees agrees, and at the end all that each account has."""
    exchange, commands = populated(seed), random_commands(seed, TWIN_COMMANDS)
    twin = twin_of(exchange)
    for number in range(len(commands)):
        _, count, fault = exchange.play(commands[number : number + 1])
        command = commands[number].tolist()
        assert fault == SOUND, f"seed {seed}, command {number}: {command}: {FAULTS[fault]}"
        rows = [tuple(row) for row in exchange.out[:count].tolist()]
        assert rows == twin.play(command), f"seed {seed}, command {number}: {command}"
    for account in range(ACCOUNTS):
        assert kernel_account(exchange, account) == twin_account(twin, account), f"seed {seed}, account {account}"


def test_random_streams_reach_every_reason_of_settlement() -> None:
    """The comparison is worth something: it meets every code and every reason that settlement adds."""
    seen: set[tuple[int, int]] = set()
    for seed in range(2):
        exchange, commands = populated(seed), random_commands(seed, REACH_COMMANDS)
        for start in range(0, len(commands), 50):
            _, count, _ = exchange.play(commands[start : start + 50])
            seen.update(map(tuple, exchange.out[:count, : k.REASON + 1].tolist()))
    codes = {code for code, _ in seen}
    assert codes >= {k.ACCEPTED, k.REJECTED, k.FILL, k.CANCELLED, k.EXPIRED, k.TRIGGERED, k.REPLACED, k.DECREMENTED}
    refusals = {reason for code, reason in seen if code == k.REJECTED}
    assert refusals >= {k.INSUFFICIENT_FUNDS, k.INSUFFICIENT_UNITS, k.SHORTING_NOT_ALLOWED, k.INSUFFICIENT_MARGIN}
    assert refusals >= {k.REDUCE_ONLY_NO_POSITION, k.UNKNOWN_ACCOUNT, k.TOO_LARGE, k.BAD_SIZE, k.DUPLICATE_ID}
    ends = {reason for code, reason in seen if code == k.CANCELLED}
    assert ends >= {k.INSUFFICIENT_FUNDS, k.INSUFFICIENT_MARGIN, k.REDUCE_ONLY_NO_POSITION, k.LIQUIDATION}
    assert (k.REDUCED, k.REDUCE_ONLY_NO_POSITION) in seen


@pytest.mark.parametrize("seed", AUDIT_SEEDS)
def test_over_a_million_commands_nothing_leaks(seed: int) -> None:
    """After each of 250,000 random commands per seed cash, units, fees, holds and margins add up."""
    exchange = populated(seed)
    played, rows, fault = exchange.play(random_commands(seed, AUDIT_COMMANDS))
    assert fault == SOUND, f"seed {seed}: {FAULTS[fault]} after {played} commands"
    assert played == AUDIT_COMMANDS
    assert rows > played
    assert exchange.accounts[layout.TRADE_COUNT] > played // 20


# What is planted, in which file, instead of what, and the fault the audit must name.
BUGS = (
    (
        "the maker's fee is not collected",
        "settlement_rules.py",
        "    accounts[currency_words(accounts, accounts[at + CURRENCY]) + FEES] += fee\n",
        "    accounts[currency_words(accounts, accounts[at + CURRENCY]) + FEES] += fee if lots > 0 else 0\n",
        "cash of all accounts and fees differ from deposits",
    ),
    (
        "the maker is not paid",
        "settlement_rules.py",
        "    post(accounts, asset, maker, unit_value, -side * lots, maker_fee)\n",
        "",
        "positions differ from the units seeded",
    ),
    (
        "a cancelled order keeps its hold",
        "settlement_orders.py",
        "    elif code in (CANCELLED, EXPIRED, REDUCED):\n",
        "    elif code in (EXPIRED, REDUCED):\n",
        "holds of an account differ from what its resting orders need",
    ),
    (
        "a decremented order keeps its hold",
        "settlement_orders.py",
        "        owner, side, lots = out[row, MAKER_OWNER], -side, out[row, ROW_SIZE]\n",
        "        lots = 0\n",
        "holds of an account differ from what its resting orders need",
    ),
    (
        "funds are not checked",
        "settlement_orders.py",
        "        return INSUFFICIENT_FUNDS\n",
        "        return NO_REASON\n",
        "more is held than owned",
    ),
    (
        "a fee is charged twice",
        "settlement_rules.py",
        "    accounts[cash + CASH] -= lots * unit_value + fee\n",
        "    accounts[cash + CASH] -= lots * unit_value + 2 * fee\n",
        "an account's cash is not what it paid in, earned and paid",
    ),
    (
        "reduce-only orders are not cut",
        "settlement_orders.py",
        "            if lots > 0:\n",
        "            if lots > 1_000_000:\n",
        "resting orders could turn a position that reduce-only orders are to close",
    ),
)


def probe(folder: Path) -> str:
    """What a copy of the package says after a short stream of each of two seeds, kernels uncompiled."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    found = ""
    for seed in (1, 4):
        command = [sys.executable, "-P", "-m", "tests.kernels.settlement_streams", str(seed), "1500"]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        where, found = done.stdout.splitlines()
        assert where.startswith(str(folder)), f"the probe looked at {where}"
        if not found.startswith("nothing"):
            return found
    return found


def copied(folder: Path) -> Path:
    """A copy of what the probe imports."""
    for name in ("agora/__init__.py", "tests/kernels/settlement_streams.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(
        ROOT / "agora" / "kernels", folder / "agora" / "kernels", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


@pytest.mark.parametrize("name,file,old,new,fault", BUGS, ids=[bug[0].replace(" ", "_") for bug in BUGS])
def test_the_audit_names_a_planted_bug(name: str, file: str, old: str, new: str, fault: str, tmp_path: Path) -> None:
    """A copy of the kernels with one bug is found out, with the identity that it breaks."""
    path = copied(tmp_path) / "agora" / "kernels" / file
    text = path.read_text()
    assert text.count(old) == 1, f"{name}: the text to replace stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new))
    assert probe(tmp_path).startswith(fault)


def test_without_a_bug_the_probe_finds_nothing(tmp_path: Path) -> None:
    """The same probe on an unchanged copy is silent."""
    assert probe(copied(tmp_path)).startswith("nothing after 1500 commands")


def test_a_call_without_room_for_its_rows_changes_nothing() -> None:
    """Too small an array of rows is an error before anything happens."""
    exchange = populated(1)
    before = exchange.state()
    small = Exchange(exchange.books, exchange.accounts, exchange.tape, np.zeros((4, layout.SETTLED_COLUMNS), np.int64))
    with pytest.raises(ValueError, match="rows"):
        small.play(random_commands(1, 5))
    assert exchange.state() == before
