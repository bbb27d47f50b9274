"""Folders that neptune-exporter wrote.

layout.py   which files make which run         table.py    rows of parquet files, a batch at a time
columns.py  from Arrow to plain lists          heads.py    what a run is called and when it was, without its series
series.py   series, console and forks          files.py    attachments, never outside the folder
failures.py what the exporter could not fetch  source.py   the source
"""
