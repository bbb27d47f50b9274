"""Measuring resources: processor time of the sampler, for each measurement and at the default interval, beside reading the same files."""

from __future__ import annotations

import tempfile

from measure import fresh, show

INTERVAL = 10.0
"""Seconds: the default."""

CHILDREN = """
import os, subprocess, sys, time
children = [
    subprocess.Popen([sys.executable, "-S", "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) for _ in range({children})
]
def end():
    for child in children:
        child.communicate()
"""

# -- the floor: the files of the kernel that hold what is measured, read once each

FLOOR = """
import glob
def read():
    ours = [str(os.getpid()), *(str(child.pid) for child in children)]
    files = ["/proc/stat", "/proc/meminfo", "/proc/diskstats", "/proc/net/dev"]
    for path in files + [f"/proc/{{pid}}/{{name}}" for pid in ours for name in ("stat", "statm", "io")]:
        with open(path, "rb") as file:
            file.read()
read()
begin = time.thread_time()
for _ in range({samples}):
    read()
print((time.thread_time() - begin) / {samples}, 0)
end()
"""

SAMPLER = """
from pathlib import Path
from multitrack.capture.recorder import Recorder
from multitrack.capture.system import ResourceWatch
from multitrack.journal import Store
from multitrack.journal.write import JournalWriter
from multitrack.masking import Mask
folder = Store(Path("store")).folder("bench", "1" * 32)
folder.create()
writer = JournalWriter(folder)
rows = []
def write(record):
    writer.append(record)
    rows.append(time.process_time())
begin = time.process_time()
watch = ResourceWatch(Recorder(folder=folder, write=write, mask=Mask(), system_interval=0.1))
watch.start()
while len(rows) <= {samples}:
    time.sleep(1)
watch.stop(10)
print((rows[{samples}] - rows[0]) / {samples}, rows[0] - begin)
writer.close()
end()
"""


def run(full: bool) -> None:
    samples = 300 if full else 60
    rows = []
    for children in (1, 50):
        head = CHILDREN.format(children=children)
        for name, code in (("floor: the same files", FLOOR), ("sampler", SAMPLER)):
            with tempfile.TemporaryDirectory() as folder:
                each, start = map(float, fresh(head + code.format(samples=samples), cwd=folder).split())
            per_minute = each * 60 / INTERVAL
            rows.append(
                [name, children, f"{each * 1e3:.2f} ms", f"{start * 1e3:.0f} ms", f"{per_minute * 1e3:.0f} ms", f"{per_minute / 60:.3%}"]
            )
    show(f"processor time, {samples} measurements", ("", "children", "each", "at the start", "a minute", "of one core"), rows)
