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

    partial: bool = Field(
        default=False,
        description=(
            "Of an export, whether runs that are damaged (a part is missing, cut off or was never finished) are read as far as they go. "
            "Otherwise they are refused, each with its reason, until they have been mended."
        ),
    )

    project: str | None = Field(
        default=None,
        description="The project of runs in `.neptune` folders of the 1.x client, which do not name it. Left out, `offline`.",
        json_schema_extra={"env": ["NEPTUNE_PROJECT"]},
    )
    local_files: bool = Field(
        default=True,
        description=(
            "Whether files that a `.neptune` folder names by their places on this machine are read from there. Switch it off for folders "
            "that somebody else has made."
        ),
    )

    @field_validator("source_tz")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError("it should be the name of a time zone, such as Europe/Warsaw") from None
        return name
