"""The journal: an append-only file of records on the local disk.

It is at once the local JSON backend, the write-ahead log of live runs, and the archive of a migration.

    layout.py   where everything lies      write.py   one writer's file      read.py   a run, from all its writers
    blobs.py    the artifacts' contents    locks.py   who is alive         copy.py   a writer's file in another store
"""

from .blobs import store_file
from .copy import WriterCopy
from .layout import RunFolder, Store, write_atomically
from .locks import FileLock, is_locked
from .read import Journal, Lines, Verdict, WriterFile
from .write import JournalWriter
from .writers import ChildWriter, NoWriter, Writer

__all__ = [
    "ChildWriter",
    "FileLock",
    "Journal",
    "JournalWriter",
    "Lines",
    "NoWriter",
    "RunFolder",
    "Store",
    "Verdict",
    "Writer",
    "WriterCopy",
    "WriterFile",
    "is_locked",
    "store_file",
    "write_atomically",
]
