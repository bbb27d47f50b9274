"""The settings of an MLflow target."""

from __future__ import annotations

from pydantic import Field, SecretStr

from multitrack.backend import BackendSettings


class MLflowSettings(BackendSettings):
    """How to log in to an MLflow target, and how patient to be with it.

    What is not set here comes from MLflow's own variables, which stay valid: `MLFLOW_TRACKING_USERNAME`, `MLFLOW_TRACKING_TOKEN`,
    `MLFLOW_TRACKING_INSECURE_TLS`, `MLFLOW_TRACKING_SERVER_CERT_PATH`, and those of the artifact stores (`AWS_ACCESS_KEY_ID`, ...). Those
    are for every MLflow server that the process talks to; a login that is set here goes to this target alone.
    """

    username: str | None = Field(
        default=None,
        description="Name for basic authentication (http, https), or the user of a database.",
        json_schema_extra={"env": ["MLFLOW_TRACKING_USERNAME"]},
    )
    password: SecretStr | None = Field(
        default=None,
        description="Password for basic authentication, or of the database's user; PostgreSQL also reads PGPASSWORD and ~/.pgpass.",
        json_schema_extra={"env": ["MLFLOW_TRACKING_PASSWORD"]},
    )
    token: SecretStr | None = Field(
        default=None,
        description="Bearer token for http and https; a username with a password goes before it.",
        json_schema_extra={"env": ["MLFLOW_TRACKING_TOKEN"]},
    )
    artifacts: str | None = Field(
        default=None,
        description=(
            "Where new experiments keep their artifacts when the location is a database, for example s3://bucket/mlflow. "
            "For sqlite the default is the folder mlruns beside the file. A server decides for itself: where its database is read, this is "
            "the server's own --artifacts-destination."
        ),
    )
    timeout: int | None = Field(
        default=None,
        ge=1,
        description="Seconds to wait for an answer (default 60). With several MLflow targets in one process the longest counts.",
        json_schema_extra={"env": ["MLFLOW_HTTP_REQUEST_TIMEOUT"]},
    )
    retries: int | None = Field(
        default=None,
        ge=0,
        le=9,
        description=(
            "How often MLflow's client tries again before multitrack's own, longer back-off begins (default 1). "
            "With several MLflow targets in one process the largest number counts."
        ),
        json_schema_extra={"env": ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]},
    )
