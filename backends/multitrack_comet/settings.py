"""The settings of a Comet target."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from multitrack.backend import BackendSettings


class CometSettings(BackendSettings):
    """How to log in to Comet. Folders of archives need none of it.

    What is not set here comes from Comet's own variables and files, which stay valid.
    """

    api_key: SecretStr | None = Field(
        default=None,
        description="The API key. Without it the one that Comet's SDK finds, such as in ~/.comet.config.",
        json_schema_extra={"env": ["COMET_API_KEY"]},
    )
    url: str | None = Field(
        default=None,
        description="The address of a Comet server of one's own, such as https://comet.example.org.",
        json_schema_extra={"env": ["COMET_URL_OVERRIDE"]},
    )
    workspace: str | None = Field(
        default=None,
        description="The workspace where the location names none; by default that of the login.",
        json_schema_extra={"env": ["COMET_WORKSPACE"]},
    )
    project: str = Field(
        default="general",
        min_length=1,
        description=(
            "The project of archived runs that name none, as the folder of a run that was killed does not. Comet's own default is the same."
        ),
        json_schema_extra={"env": ["COMET_PROJECT_NAME"]},
    )
    timeout: int | None = Field(
        default=None,
        ge=1,
        description="Seconds to wait for an answer (default 10 where something is written, 60 where it is read).",
        json_schema_extra={"env": ["COMET_TIMEOUT_HTTP"]},
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("not an address: write it like https://comet.example.org")
        return url
