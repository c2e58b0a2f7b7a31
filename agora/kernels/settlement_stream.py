"""Whole streams of exchange commands in one compiled call, on several books, audited on the way where asked."""

from __future__ import annotations

import numpy as np

from agora.kernels.compiled import Rows, Words, compiled, compiled_inside
from agora.kernels.matching_layout import FIRST_ROW, REQUESTED, new_book
from agora.kernels.settlement import (
    cancel_all_funded,
    cancel_funded,
    cover_funded,
    expire_funded,
    has_room,
    need_room,
    replace_funded,
    submit_funded,
)
from agora.kernels.settlement_audit import SOUND, book_fault, money_fault

# Columns of a command: what to do, the asset, then the arguments of `exchange_submit` from order_id on.
OP_SUBMIT, OP_CANCEL, OP_CANCEL_ALL, OP_REPLACE, OP_EXPIRE, OP_COVER = 1, 2, 3, 4, 5, 6
COMMAND_COLUMNS = 14
LINE_WORDS = 8  # int64 words in a line of the memory cache


def new_books(assets: int, *, order_capacity: int, owner_capacity: int) -> Rows:
    """Return one empty book per row; each row begins with a line of the memory cache where the first does."""
    book = new_book(order_capacity, owner_capacity)
    words = -(-len(book) // LINE_WORDS) * LINE_WORDS
    room = np.zeros(assets * words + LINE_WORDS, dtype=np.int64)
    first = -(room.ctypes.data // 8) % LINE_WORDS
    books = room[first : first + assets * words].reshape(assets, words)
    books[:, : len(book)] = book
    return books


@compiled_inside
def run_command(book: Words, accounts: Words, tape: Rows, out: Rows, n: int, c: Words) -> int:
    """Play one command; an unknown one raises ValueError."""
    if c[0] == OP_SUBMIT:
        return submit_funded(
            book,
            accounts,
            tape,
            out,
            n,
            c[1],
            c[2],
            c[3],
            c[4],
            c[5],
            c[6],
            c[7],
            c[8],
            c[9],
            c[10],
            c[11],
            c[12],
            c[13],
        )
    if c[0] == OP_CANCEL:
        return cancel_funded(book, accounts, tape, out, n, c[1], c[2], c[3])
    if c[0] == OP_CANCEL_ALL:
        return cancel_all_funded(book, accounts, tape, out, n, c[1], c[3], REQUESTED)
    if c[0] == OP_REPLACE:
        return replace_funded(book, accounts, tape, out, n, c[1], c[2], c[3], c[8], c[10], c[13])
    if c[0] == OP_EXPIRE:
        return expire_funded(book, accounts, tape, out, n, c[1], c[13])
    if c[0] == OP_COVER:
        return cover_funded(book, accounts, tape, out, n, c[1], c[2], c[3], c[13])
    raise ValueError("a command begins with one of OP_SUBMIT to OP_COVER")


@compiled_inside
def first_fault(books: Rows, accounts: Words) -> int:
    """Audit everything; return the first fault or SOUND."""
    for asset in range(books.shape[0]):
        fault = book_fault(books[asset], accounts, asset)
        if fault != SOUND:
            return fault
    return money_fault(accounts)


@compiled
def run_commands(
    books: Rows, accounts: Words, tape: Rows, out: Rows, commands: Rows, audit_every: int
) -> tuple[int, int, int]:
    """Play commands; return how many were played, how many rows they wrote, and the fault that ended them or SOUND.

    Rows are written one after another; when those of a call might not fit, writing begins at the top again. With
    `audit_every` above 0 everything is audited after so many commands.
    """
    n, written = FIRST_ROW, FIRST_ROW
    for number in range(commands.shape[0]):
        book = books[commands[number, 1]]
        if not has_room(book, out, n):
            n = FIRST_ROW
            need_room(book, out)
        first = n
        n = run_command(book, accounts, tape, out, n, commands[number])
        written += n - first
        if audit_every > 0 and (number + 1) % audit_every == 0:
            fault = first_fault(books, accounts)
            if fault != SOUND:
                return number + 1, written, fault
    return commands.shape[0], written, SOUND
