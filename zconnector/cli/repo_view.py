"""What `zconnector repo` tells of a repository."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zconnector.cli.output import emit

if TYPE_CHECKING:
    from zconnector.repository.manifest import Manifest
    from zconnector.repository.publish import Published


def tell(folder: Path, published: Published, wall: int, as_json: bool) -> None:
    """What a call made of a repository."""
    _warn_of_date(folder, published.manifest, wall // 1000)
    if as_json:
        told = {"changed": published.changed, "removed": published.removed, "ignored": published.ignored}
        emit({**facts(folder, published.manifest), **told})
        return
    for word in ("changed", "removed"):
        for path in getattr(published, word):
            click.echo(f"{word}: {path}")
    for path in published.ignored:
        click.echo(f"zconnector: not of the layout, not signed: {folder / path}", err=True)
    nothing = "" if published.changed or published.removed else "; no file changed"
    click.echo(title(published.manifest) + nothing)


def _warn_of_date(folder: Path, manifest: Manifest, now: int) -> None:
    """A date that is ahead goes on from manifest to manifest: the clock of one machine was wrong once."""
    from zconnector.repository.accepting import MAX_AHEAD
    from zconnector.repository.manifest import dated

    date = manifest.timestamp
    if date > now + MAX_AHEAD:
        click.echo(
            f"zconnector: manifest of {folder} (serial {manifest.serial}) is dated {dated(date)}, "
            f"now it is {dated(now)}: it is accepted from {MAX_AHEAD // 3600} h before its date on only. "
            "Where this clock is right: zconnector repo sign --redate",
            err=True,
        )


def title(manifest: Manifest) -> str:
    """A manifest in one line."""
    from zconnector.repository.manifest import dated

    until = "never expires" if manifest.expires is None else f"expires {dated(manifest.expires)}"
    return (
        f"repository {manifest.repository}, serial {manifest.serial}, {len(manifest.files)} files, "
        f"signed {dated(manifest.timestamp)}, {until}"
    )


def facts(where: Path | str, manifest: Manifest) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "address": str(where),
        "repository": manifest.repository,
        "serial": manifest.serial,
        "timestamp": manifest.timestamp,
        "expires": manifest.expires,
        "key": str(manifest.key),
    }
