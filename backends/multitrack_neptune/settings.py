"""The settings of a Neptune target."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator

from multitrack.backend import BackendSettings


class NeptuneSettings(BackendSettings):
    """How to log in to a Neptune target, and how to read what a Neptune client or neptune-exporter has left on the disk."""

    api_token: SecretStr | None = Field(
        default=None,
        description="The API token of a server. Folders need none.",
        json_schema_extra={"env": ["NEPTUNE_API_TOKEN"]},
    )
    source_tz: str | None = Field(
        default=None,
        description=(
            "The time zone of the machine on which neptune-exporter ran, such as Europe/Warsaw. Exports of Neptune 2.x hold the times of "
            "series in that machine's local time, marked as UTC; with this they are set right, summer time included."
        ),
    )
    files: str | None = Field(
        default=None,
        description="Of an export, the folder that neptune-exporter was given as --files-path, where that is not beside its data.",
    )
    errors: str | None = Field(
        default=None,
        description=(
            "Of an export, the file in which neptune-exporter noted what it could not fetch; by default neptune_exporter_errors.jsonl in "
            "the export's folder or the one above it."
        ),
    )

    @field_validator("source_tz")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError("not a time zone that this machine knows: write it like Europe/Warsaw or America/New_York") from None
        return name
