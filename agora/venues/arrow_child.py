"""A feather (Arrow IPC) file as plain columns on standard output; run as a process of its own, never imported.

The library that reads such files ends the whole process on some damaged bytes: its panics cross a border where they
cannot be caught. Here it ends nothing but this child; and the run that asked does without the library's memory.

Arguments: the file, the most rows, the names of time columns (`,` between them), the names of number columns.
Answer: one JSON line `{"names": [...], "time": NAME or null, "numbers": [...], "rows": N}` or `{"fault": TEXT}`, then
the time column as int64 and each number column as float64 (what is no number is NaN), in the machine's byte order.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from arro3.core import Array, DataType
from arro3.io import read_ipc

Column = npt.NDArray[Any]


def floats_of(column: Array) -> Column:
    """A column as floats; what is no number becomes NaN."""
    numbers = column.cast(DataType.float64())
    if numbers.null_count:
        return np.array([np.nan if number is None else number for number in numbers.to_pylist()], dtype=np.float64)
    return np.asarray(numbers.to_numpy(), dtype=np.float64)


def columns_of(path: str, rows_max: int, wanted: tuple[list[str], list[str]]) -> tuple[dict[str, Any], list[bytes]]:
    """The head of the answer and the columns behind it."""
    head: dict[str, Any] = {"names": [], "time": None, "numbers": [], "rows": 0}
    parts: list[list[Column]] = []
    rows = 0
    for batch in read_ipc(path):
        rows += batch.num_rows
        if rows > rows_max:
            return {"fault": f"more than {rows_max} rows"}, []
        if not parts:
            names = list(batch.schema.names)
            time = next((name for name in wanted[0] if name in names), None)
            head |= {"names": names, "time": time, "numbers": [name for name in wanted[1] if name in names]}
        columns = []
        if head["time"] is not None:
            columns.append(batch.column(head["time"]).cast(DataType.int64()).to_numpy())
        columns += [floats_of(batch.column(name)) for name in head["numbers"]]
        parts.append(columns)
    head["rows"] = rows
    return head, [np.concatenate(column).tobytes() for column in zip(*parts, strict=True)]


def main() -> None:
    """Answer on standard output."""
    path, rows_max, times, numbers = sys.argv[1:]
    try:
        head, columns = columns_of(path, int(rows_max), (times.split(","), numbers.split(",")))
    except (ValueError, TypeError, NotImplementedError) as fault:
        head, columns = {"fault": f"a column is not of times or numbers: {fault}"}, []
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n")
    for column in columns:
        sys.stdout.buffer.write(column)


if __name__ == "__main__":
    main()
