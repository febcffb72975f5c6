"""`zconnector repo`: make, sign and check a repository of workers (docs/repository.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zconnector.cli.locate import CONTEXT
from zconnector.cli.operate import lasting
from zconnector.cli.output import emit, table
from zconnector.cli.repo_view import facts, tell, title
from zconnector.errors import ConfigError, RepositoryError, StaleError

if TYPE_CHECKING:
    from zconnector.repository.signing import PublicKey

Command = Callable[..., Any]
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
key_option = click.option(
    "--secret-key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the secret key, mode 0600.  [default: DIR.key, beside the repository]",
)
MAX_DAYS = 3650


def _lifetime(_: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Seconds, of `DAYS` or `never`; None: not given."""
    if value is None:
        return None
    if value == "never":
        return 0  # publish.NEVER
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= MAX_DAYS):
        raise click.BadParameter(f"must be never, or days from 1 to {MAX_DAYS} (got {value!r:.40})")
    return int(value) * 86_400


def _expires_option(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--expires",
        "lifetime",
        metavar="DAYS|never",
        callback=_lifetime,
        help="So long from now connectors install by this manifest; sign it again before."
        f"  [default: {default}]",
    )


@click.group("repo", context_settings=CONTEXT)
def command() -> None:
    """Make, sign and check a repository that connectors get their workers from."""


@command.command(
    "init",
    context_settings=CONTEXT,
    epilog="Examples: zconnector repo init /srv/workers;"
    "  zconnector repo init /srv/workers --name acme-workers --secret-key ~/acme.key",
)
@folder_argument
@click.option("--name", default="", help="Name of the repository, which is signed.  [default: that of DIR]")
@_expires_option("365")
@key_option
@json_option
def init(folder: Path, name: str, lifetime: int | None, secret_key: Path | None, as_json: bool) -> None:
    """Make a repository, and its key pair where the file of the secret key is not there yet.

    Prints the public key: pin it wherever workers are installed from this repository.
    """
    from zconnector.repository.keyfile import create_key, read_key
    from zconnector.repository.layout import MANIFEST, check_name
    from zconnector.repository.publish import LIFETIME, create

    path = _key_path(folder, secret_key)
    called = name or folder.resolve().name.lower()
    check_name(called, "name of a repository (--name)")
    if (folder / MANIFEST).exists():
        raise ConfigError(f"{folder / MANIFEST} exists already")
    made = not path.exists()
    if made and not path.parent.is_dir():
        raise ConfigError(f"cannot write secret key {path}: {path.parent} is no folder")
    key = create_key(path) if made else read_key(path)
    manifest = create(folder, called, key, _wall(), lifetime=LIFETIME if lifetime is None else lifetime)
    if as_json:
        emit({**facts(folder, manifest), "secret_key": str(path), "secret_key_made": made})
    else:
        click.echo(
            f"repository {called} made in {folder}; secret key {'made in' if made else 'of'} {path}", err=True
        )
        click.echo(str(key.public))


@command.command(
    "add",
    context_settings=CONTEXT,
    epilog="""Example: zconnector repo add /srv/workers workers/jenkins-1.0 workers/jenkins-1.1

\b
A worker's folder:
  worker.yaml                   what it is: {type: Ci, product: jenkins, major: 1, minor: 0}
  worker                        what is started
  pivot.yaml                    the pivot, where it brings it
  connector_product.yaml        the product connector, where it has one
  ...                           all else goes into the archive too""",
)
@folder_argument
@click.argument(
    "workers",
    metavar="WORKER_FOLDER...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
)
@click.option(
    "--replace", "again", is_flag=True, help="Replace versions that are there with another content."
)
@_expires_option("as many as the last time")
@key_option
@json_option
def add(
    folder: Path,
    workers: tuple[Path, ...],
    again: bool,
    lifetime: int | None,
    secret_key: Path | None,
    as_json: bool,
) -> None:
    """Archive workers into a repository, and sign it; the same ones again change nothing."""
    from zconnector.repository.keyfile import read_key
    from zconnector.repository.publish import add as publish
    from zconnector.repository.workerfolder import WorkerFolder

    key = read_key(_key_path(folder, secret_key))
    read = [WorkerFolder.read(worker) for worker in workers]
    wall = _wall()
    tell(folder, publish(folder, read, key, wall, again=again, lifetime=lifetime), wall, as_json)


@command.command(
    "sign",
    context_settings=CONTEXT,
    epilog="Examples: zconnector repo sign /srv/workers;  zconnector repo sign /srv/workers --expires 90;"
    "  zconnector repo sign /srv/workers --secret-key new.key --new-key",
)
@folder_argument
@click.option(
    "--new-key", is_flag=True, help="Sign with another key than before: the new one has to be pinned."
)
@click.option(
    "--redate",
    is_flag=True,
    help="Date it by this clock, also back: the clock by which it was signed before was ahead.",
)
@_expires_option("as many as the last time")
@key_option
@json_option
def sign(
    folder: Path,
    new_key: bool,
    redate: bool,
    lifetime: int | None,
    secret_key: Path | None,
    as_json: bool,
) -> None:
    """Look at every file that lies in the repository, and sign them all with the next serial.

    Where no file has changed it puts off the date of expiry. A repository without one stays as it is.
    """
    from zconnector.repository.keyfile import read_key
    from zconnector.repository.publish import sign_again

    key, wall = read_key(_key_path(folder, secret_key)), _wall()
    signed = sign_again(folder, key, wall, new_key=new_key, redate=redate, lifetime=lifetime)
    tell(folder, signed, wall, as_json)


@command.command(
    "verify",
    context_settings=CONTEXT,
    epilog="Examples: zconnector repo verify https://workers.example.com/acme --key ed25519:11qY...;"
    "  zconnector repo verify file:///srv/workers --key @workers.pub --json",
)
@click.argument("address")
@click.option(
    "--key",
    "keys",
    multiple=True,
    required=True,
    metavar="KEY|@FILE",
    help="Public key that is pinned, or a file with it; may be repeated.",
)
@click.option("--repository", default="", help="Name that the repository must have.")
@click.option(
    "--warning",
    type=click.FloatRange(0, MAX_DAYS),
    default=7.0,
    show_default=True,
    metavar="DAYS",
    help="Say so where the manifest expires within so many days; the exit status stays as it is.",
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Authority of the server's certificate (PEM).  [default: those of the system]",
)
@json_option
def verify(
    address: str, keys: tuple[str, ...], repository: str, warning: float, ca: Path | None, as_json: bool
) -> int:
    """Fetch and check everything in a repository, and tell what is wrong with which file.

    Exit status 65 where a file breaks a rule, 69 where one did not come, 77 where one is not what was signed,
    or the manifest has expired.
    """
    from zconnector.repository.accepting import check_follows, check_unexpired
    from zconnector.repository.judging import judge
    from zconnector.repository.layout import read_address
    from zconnector.repository.manifest import dated, expiring
    from zconnector.repository.reading import read_verified
    from zconnector.repository.source import Source

    source = Source(read_address(address), tuple(_public(key) for key in keys), repository, ca)
    with source.open() as fetcher:
        manifest, _ = read_verified(fetcher, source)
        wall = _wall()
        check_follows(manifest, address, (), wall, repository)
        findings = list(judge(fetcher, source, manifest))
    errors: list[RepositoryError] = [finding.error for finding in findings if finding.error is not None]
    expired = False
    try:
        check_unexpired(manifest, address, wall)
    except StaleError as late:
        expired = True
        errors.append(late)
    soon = expiring(manifest.expires, wall, warning)
    if as_json:
        files = [
            {
                "path": finding.file.path,
                "size": finding.file.size,
                "sha256": finding.file.sha256,
                "error": str(finding.error) if finding.error else None,
            }
            for finding in findings
        ]
        told = {"expired": expired, "expiring": soon, "valid": not errors, "files": files}
        emit({**facts(address, manifest), **told})
    else:
        rows = [(f.file.path, str(f.file.size), "WRONG" if f.error else "as signed") for f in findings]
        click.echo(title(manifest))
        table(("path", "bytes", ""), rows)
        for error in errors:
            click.echo(f"zconnector: {error}", err=True)
        if soon and not expired and manifest.expires is not None:
            left = lasting(manifest.expires * 1000 - wall)
            click.echo(
                f"zconnector: manifest of {address} (serial {manifest.serial}) expires in {left}, "
                f"at {dated(manifest.expires)}: sign it again (zconnector repo sign)",
                err=True,
            )
    return max((error.exit_code for error in errors), default=0)


def _key_path(folder: Path, given: Path | None) -> Path:
    """Where the secret key is: never in the repository, where it would be served."""
    inside = folder.resolve()
    path = given or inside.with_name(f"{inside.name}.key")
    if path.resolve().is_relative_to(inside):
        raise ConfigError(f"secret key {path} must not be inside the repository, where it would be served")
    return path


def _public(text: str) -> PublicKey:
    from zconnector.repository.signing import PublicKey

    if text.startswith("@"):
        path = Path(text[1:])
        try:
            text = path.read_text("ascii")[:1024].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return PublicKey.from_text(text)


def _wall() -> int:
    from zconnector.clock import SystemClock

    return SystemClock().now().wall
