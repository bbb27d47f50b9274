"""Folders that neptune-exporter wrote.

layout.py   which files make which run         table.py        rows of parquet files, a batch at a time
columns.py  from Arrow to plain lists          heads.py        what a run is called and when it was, without its series
series.py   series, console and forks          attachments.py  files as artifacts
files.py    content, only below the folder     failures.py     what the exporter could not fetch
own.py      runs that multitrack had written   source.py       the source
"""
