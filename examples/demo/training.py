"""Training small neural networks on scikit-learn's digits, recorded as anybody would record it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import joblib
import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import multitrack as mt

mpl.use("Agg")
from matplotlib import pyplot as plt

SEED = 7
CLASSES = np.arange(10)


@dataclass(frozen=True)
class Setting:
    """One set of hyperparameters."""

    name: str
    hidden: list[int]
    learning_rate: float
    alpha: float = 1e-4
    epochs: int = 40

    @property
    def params(self) -> dict[str, Any]:
        """As they are recorded: nested and typed."""
        return {
            "model": {"type": "mlp", "hidden": self.hidden, "activation": "relu"},
            "optimizer": {"name": "adam", "learning_rate": self.learning_rate, "alpha": self.alpha, "batch_size": 32},
            "epochs": self.epochs,
            "seed": SEED,
        }


@dataclass
class Result:
    """What training gave, kept aside from all tracking: the checks compare the services with it."""

    setting: Setting
    run_id: str
    points: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Metric to its (step, value) pairs."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Artifact to its content."""

    @property
    def count(self) -> int:
        return sum(map(len, self.points.values()))

    @property
    def best(self) -> float:
        return max(value for _, value in self.points["val/accuracy"])


class Digits:
    """1,797 images of 8 x 8 pixels, written to the disk as CSV so that the data has a version."""

    def __init__(self, folder: Path) -> None:
        pixels, labels = load_digits(return_X_y=True)
        split = train_test_split(pixels / 16.0, labels, test_size=0.25, random_state=SEED, stratify=labels)
        self.train_x, self.val_x, self.train_y, self.val_y = split
        folder.mkdir(parents=True, exist_ok=True)
        self.train_file = self._write(folder / "train.csv", self.train_x, self.train_y)
        self.val_file = self._write(folder / "validation.csv", self.val_x, self.val_y)

    @staticmethod
    def _write(path: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
        np.savetxt(path, np.column_stack([pixels, labels]), delimiter=",", fmt="%g")
        return path

    @cached_property
    def schema(self) -> dict[str, Any]:
        return {"columns": {"pixels": 64, "label": "int"}}


def train(setting: Setting, digits: Digits, work: Path, *, on_epoch: Callable[[int], None] = lambda _: None, timeout: float) -> Result:
    """Train one model. `on_epoch` is called after each epoch; `timeout` is how long the end waits for the services, in seconds."""
    with mt.init(name=setting.name, params=setting.params, tags={"model": "mlp", "demo": None}, group="hidden-layers", quiet=True) as run:
        run.set_notes(f"An MLP with hidden layers {setting.hidden}, trained by `make demo`.")
        run.define_metric("val/accuracy", goal="max", summary="max")
        run.define_metric("val/loss", goal="min", summary="min")
        run.log_data("digits", digits.train_file, role="train", rows=len(digits.train_y), schema=digits.schema)
        run.log_data("digits", digits.val_file, role="validation", rows=len(digits.val_y), schema=digits.schema)
        result = Result(setting, run.id)
        model = _new_model(setting)
        for epoch in range(1, setting.epochs + 1):
            began = time.perf_counter()
            _train_epoch(model, digits, epoch)
            metrics = _measure(model, digits) | {"seconds": time.perf_counter() - began}
            run.log(metrics, step=epoch)
            for name, value in metrics.items():
                result.points.setdefault(name, []).append((epoch, value))
            on_epoch(epoch)
        for file in _write_artifacts(model, digits, work):
            run.log_artifact(file, kind="model" if file.suffix == ".joblib" else "figure")
            result.files[file.name] = file.read_bytes()
        run.summary["best_accuracy"] = result.best
        run.finish(timeout=timeout)
    return result


def _new_model(setting: Setting) -> MLPClassifier:
    return MLPClassifier(setting.hidden, learning_rate_init=setting.learning_rate, alpha=setting.alpha, batch_size=32, random_state=SEED)


def _train_epoch(model: MLPClassifier, digits: Digits, epoch: int) -> None:
    order = np.random.default_rng(SEED + epoch).permutation(len(digits.train_y))
    model.partial_fit(digits.train_x[order], digits.train_y[order], classes=CLASSES)


def _measure(model: MLPClassifier, digits: Digits) -> dict[str, float]:
    predicted = model.predict_proba(digits.val_x)
    return {
        "train/loss": float(model.loss_),
        "val/loss": float(log_loss(digits.val_y, predicted, labels=CLASSES)),
        "val/accuracy": accuracy(model, digits),
    }


def accuracy(model: MLPClassifier, digits: Digits) -> float:
    """Return the share of the validation images that the model names right."""
    return float(accuracy_score(digits.val_y, model.predict(digits.val_x)))


def _write_artifacts(model: MLPClassifier, digits: Digits, work: Path) -> list[Path]:
    work.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, work / "model.joblib")
    display = ConfusionMatrixDisplay.from_predictions(digits.val_y, model.predict(digits.val_x), colorbar=False)
    display.figure_.savefig(work / "confusion.png", dpi=80)
    plt.close(display.figure_)
    return [work / "model.joblib", work / "confusion.png"]
