"""The settings of a W&B target."""

from __future__ import annotations

from pydantic import Field, SecretStr

from multitrack.backend import BackendSettings


class WandbSettings(BackendSettings):
    """How to log in to W&B, and where. What is not set here comes from W&B's own variables and login, which stay valid.

    Folders need none of it.
    """

    api_key: SecretStr | None = Field(
        default=None,
        description="API key. Without it the one that `wandb login` has left in ~/.netrc is used.",
        json_schema_extra={"env": ["WANDB_API_KEY"]},
    )
    base_url: str | None = Field(
        default=None,
        description="A server of one's own, for example https://wandb.example.org (default https://api.wandb.ai).",
        json_schema_extra={"env": ["WANDB_BASE_URL"]},
    )
    entity: str | None = Field(
        default=None,
        description="The team or user whose projects they are, where the location names none (default: the login's own).",
        json_schema_extra={"env": ["WANDB_ENTITY"]},
    )
    timeout: int = Field(default=60, ge=1, description="Seconds to wait for an answer.")
