"""Servers that speak Neptune's 1.x protocol, through the neptune client's own connection to them.

| file | is about |
|---|---|
| `client` | connecting, and what the client's errors mean |
| `sink` | one run, written synchronously |
| `source` | all runs of a project |
| `runs` | one run, read |

No `neptune.init_run`: its threads, its queue on the disk and what it captures by itself have no place in a courier.
"""
