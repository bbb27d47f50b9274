"""Images, tables, figures, histograms: what a metric's point may be besides a number or a text.

An image, table or figure is a file of the run, and the point refers to it; a histogram is a value of its own. Nothing here imports
numpy, Pillow, pandas, matplotlib or plotly before somebody hands over one of their objects.
"""
