"""`.neptune` folders: what the clients write on disk before a server has it. Reading them needs no client.

| file | is about |
|---|---|
| `places` | where the folders of runs are, and whose |
| `log` | the 1.x client's operation log: `data-N.log`, `last_put_version`, `last_ack_version` |
| `replay` | pure: 1.x operations -> what a server would hold after them |
| `wire`, `messages` | pure: the few protobuf messages of neptune-scale |
| `scale` | neptune-scale's `run_operations.sqlite3` |
"""
