"""The record of a run: two hash chains of JSON lines, how they are written, read, recovered and verified."""

from agora.journal.checkpoint import Newest, StateCheckpoint, newest_valid
from agora.journal.checkpoint import write as write_checkpoint
from agora.journal.disk import Disk
from agora.journal.log import Log, WriterFactory, open_log
from agora.journal.reader import read_records
from agora.journal.records import Record
from agora.journal.recovery import Recovered, recover
from agora.journal.segments import has_journal
from agora.journal.store import Limits
from agora.journal.verify import ChainReport, verify_chain
from agora.journal.writer import InlineWriter, ThreadWriter, Writer

__all__ = [
    "ChainReport",
    "Disk",
    "InlineWriter",
    "Limits",
    "Log",
    "Newest",
    "Record",
    "Recovered",
    "StateCheckpoint",
    "ThreadWriter",
    "Writer",
    "WriterFactory",
    "has_journal",
    "newest_valid",
    "open_log",
    "read_records",
    "recover",
    "verify_chain",
    "write_checkpoint",
]
