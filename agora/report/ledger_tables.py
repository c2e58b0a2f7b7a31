"""The tables of the market's ledger: runs, every trade, every decision of an agent.

Knows columns and the two dialects (SQLite, PostgreSQL); knows nothing of threads, files or when rows are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Connection, MetaData, Table, Text, func, select
from sqlalchemy.dialects import postgresql, sqlite

from agora.domain.orders import Side

# A note is a sentence or two; a model that writes a novel gets this much of it kept.
NOTE_CHARS_MAX = 500
# Names are ours (accounts, personas, outcomes); this only keeps a fault from filling a disk.
NAME_CHARS_MAX = 100


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """The row of a run, written at its start; `started_ts_ns` is the market's clock."""

    run_id: str
    started_ts_ns: int
    seed: int
    config_hash: str
    version: str


class Transaction(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A trade. `number` counts the run's trades from 1 without gaps; fees are units of 1e-8, negative: a rebate."""

    number: int
    tick: int
    ts_ns: int
    symbol: str
    price: str
    price_ticks: int
    size_lots: int
    taker_side: Side
    maker: str
    taker: str
    maker_fee_units: int
    taker_fee_units: int


class Interaction(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A decision of an agent. `number` counts them from 1 without gaps; `cost_units` is what its model charged."""

    number: int
    tick: int
    ts_ns: int
    agent: str
    persona: str
    outcome: str
    orders: int
    refused: int
    note: str = ""
    cost_units: int = 0


LedgerRow = Transaction | Interaction

METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("started_ts_ns", BigInteger, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("version", Text, nullable=False),
    # True once the run was closed in order and every row of it is there.
    Column("complete", Boolean, nullable=False),
)

TRANSACTIONS = Table(
    "transactions",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("tick", BigInteger, nullable=False),
    Column("ts_ns", BigInteger, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("price", Text, nullable=False),
    Column("price_ticks", BigInteger, nullable=False),
    Column("size_lots", BigInteger, nullable=False),
    Column("taker_side", Text, nullable=False),
    Column("maker", Text, nullable=False),
    Column("taker", Text, nullable=False),
    Column("maker_fee_units", BigInteger, nullable=False),
    Column("taker_fee_units", BigInteger, nullable=False),
)

INTERACTIONS = Table(
    "interactions",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("tick", BigInteger, nullable=False),
    Column("ts_ns", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),
    Column("persona", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("orders", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("cost_units", BigInteger, nullable=False),
)


def open_run(connection: Connection, run: RunRow) -> None:
    """Create the tables where they are missing and the run's row, which says incomplete until `close_run`."""
    METADATA.create_all(connection, checkfirst=True)
    _insert(connection, RUNS, [{**msgspec.structs.asdict(run), "complete": False}])
    connection.execute(RUNS.update().where(RUNS.c.run_id == run.run_id).values(complete=False))


def add_rows(connection: Connection, run_id: str, rows: Sequence[LedgerRow]) -> None:
    """Write rows; one that is there already (by run and number) stays as it is."""
    transactions = [_transaction_cells(row, run_id) for row in rows if isinstance(row, Transaction)]
    interactions = [_interaction_cells(row, run_id) for row in rows if isinstance(row, Interaction)]
    if transactions:
        _insert(connection, TRANSACTIONS, transactions)
    if interactions:
        _insert(connection, INTERACTIONS, interactions)


def close_run(connection: Connection, run_id: str, *, transactions: int, interactions: int) -> bool:
    """Mark the run complete if it has that many rows of each kind; returns whether it has."""
    is_complete = (
        _count(connection, TRANSACTIONS, run_id) == transactions
        and _count(connection, INTERACTIONS, run_id) == interactions
    )
    connection.execute(RUNS.update().where(RUNS.c.run_id == run_id).values(complete=is_complete))
    return is_complete


def _count(connection: Connection, table: Table, run_id: str) -> int:
    return connection.execute(select(func.count()).select_from(table).where(table.c.run_id == run_id)).scalar_one()


def _insert(connection: Connection, table: Table, cells: list[dict[str, Any]]) -> None:
    """Insert what is not there yet. Both dialects know `on conflict do nothing`, each by its own construct."""
    is_postgresql = connection.dialect.name == "postgresql"
    statement: Any = postgresql.insert(table) if is_postgresql else sqlite.insert(table)
    connection.execute(statement.on_conflict_do_nothing(index_elements=list(table.primary_key.columns)), cells)


def _transaction_cells(row: Transaction, run_id: str) -> dict[str, Any]:
    cells = msgspec.structs.asdict(row)
    cells["run_id"] = run_id
    cells["taker_side"] = row.taker_side.word
    cells["maker"] = storable(row.maker, NAME_CHARS_MAX)
    cells["taker"] = storable(row.taker, NAME_CHARS_MAX)
    return cells


def _interaction_cells(row: Interaction, run_id: str) -> dict[str, Any]:
    cells = msgspec.structs.asdict(row)
    cells["run_id"] = run_id
    cells["agent"] = storable(row.agent, NAME_CHARS_MAX)
    cells["note"] = storable(row.note, NOTE_CHARS_MAX)
    return cells


def storable(text: str, chars_max: int) -> str:
    """Text that both databases take: shortened, without NUL (PostgreSQL refuses it) and lone surrogates."""
    short = text[:chars_max]
    if "\0" in short or not short.isascii():
        return short.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return short
