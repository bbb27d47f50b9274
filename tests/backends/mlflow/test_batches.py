"""Points written as JSON say what MLflow's own client says."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric, Param
from mlflow.protos.service_pb2 import LogBatch
from mlflow.store.tracking.rest_store import RestStore
from mlflow.utils.proto_json_utils import message_to_json
from mlflow.utils.rest_utils import MlflowHostCreds

from multitrack_mlflow.batches import is_of_points, log_batch, points_json

metrics = st.builds(
    Metric,
    st.text(st.characters(exclude_categories=["Cs"])),
    st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]),
    st.integers(0, 2**62),
    st.integers(-(2**63), 2**63 - 1),
)


@given(st.lists(metrics, min_size=1, max_size=5))
def test_the_body_is_the_one_that_protobuf_makes(points: list[Metric]) -> None:
    message = LogBatch(run_id="r", metrics=[point.to_proto() for point in points])
    assert json.loads(points_json("r", points)) == json.loads(message_to_json(message))


class Store(RestStore):
    """Notes the bodies it is to send."""

    def __init__(self) -> None:
        super().__init__(lambda: MlflowHostCreds("http://nowhere.invalid"))
        self.sent: list[str] = []

    def _call_endpoint(self, api: Any, json_body: Any = None, *_: Any, **__: Any) -> Any:
        self.sent.append(json_body)


class Plugin(Store):
    """Writes batches in a way of its own."""

    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        self.sent.append(f"{len(metrics)} in my own way")


POINT = Metric("loss", 0.5, 1000, 3)
SCORE = Metric("loss", 0.5, 1000, 3, model_id="m-1", run_id="r")


def test_points_take_the_short_way_and_everything_else_the_clients_own() -> None:
    store, plugin = Store(), Plugin()
    log_batch(store, "r", ([POINT], [], []))
    assert store.sent == [points_json("r", [POINT])]
    log_batch(store, "r", ([POINT], [Param("a", "1")], []))
    log_batch(store, "r", ([SCORE], [], []))
    assert json.loads(store.sent[1])["params"] == [{"key": "a", "value": "1"}]
    assert json.loads(store.sent[2])["metrics"][0]["model_id"] == "m-1"
    log_batch(plugin, "r", ([POINT], [], []))
    assert plugin.sent == ["1 in my own way"]


def test_scores_of_models_are_not_points_of_the_run() -> None:
    assert is_of_points(([POINT], [], []))
    assert not is_of_points(([POINT, SCORE], [], []))
