"""Resource usage: of the run's processes, their machines, and the accelerators that they see.

    ResourceWatch   samples at an interval, and writes rows of metrics        watch.py
    ProcessTree     CPU, memory and disk of a process and its children        process.py
    Machine         CPU, memory, disk and network                             machine.py
    Gpus            the accelerators                                          gpus.py

Each reader returns names and numbers; the watch gives the names their beginning: `system/`, and `system/<host>/` or `system/rank_<n>/`
where several machines or processes record into one run. The names and units are MLflow's where MLflow has them;
`docs/records/resources.md` lists them.
"""

from .watch import ResourceWatch

__all__ = ["ResourceWatch"]
