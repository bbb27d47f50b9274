"""Log images, a table, a histogram and a figure with their steps, and read them back. Needs numpy and matplotlib.

python examples/media.py                                  recorded here
python examples/media.py mlflow:http://127.0.0.1:5000     and shown by MLflow: images in the run's grid, tables among its artifacts
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import multitrack as mt

target = sys.argv[1] if len(sys.argv) > 1 else "local"
random = np.random.default_rng(0)

with mt.init(project="media", name="pictures", backends=target) as run:
    for step in range(3):
        weights = random.normal(scale=1 / (step + 1), size=1000)
        noise = random.random((64, 96, 3))  # height, width, channels; floats from 0 to 1
        figure = Figure(figsize=(4, 3))
        figure.subplots().hist(weights, bins=30)
        run.log(
            {
                "val/samples": [mt.Image(noise, caption=f"noise {step}"), mt.Image(noise > 0.5)],
                "val/confusion": mt.Table([{"class": "cat", "right": 8 + step}, {"class": "dog", "right": 9}]),
                "weights": mt.Histogram(weights, bins=16),
                "weights/plot": figure,
            },
            step=step,
        )

with mt.open(target) as store:
    view = store.run(run.id)
    print(f"{len(view.metrics('val/samples'))} images; the first of them: {view.metrics('val/samples')['value'][0].name}")
    print(f"confusion at step 2: {view.table('val/confusion', step=2).rows}")
    print(f"image: {view.image('val/samples', step=0)}")
    print(f"weights: {sum(view.metrics('weights')['value'][-1].counts)} in 16 bins")
