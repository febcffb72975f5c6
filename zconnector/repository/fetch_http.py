"""Files over https, and http on loopback: bounded in size and time, tried again, never led elsewhere."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from urllib.parse import urljoin

import httpx
import tenacity

from zconnector.clock import Clock, SystemClock
from zconnector.errors import ConfigError, FetchError, OversizeError
from zconnector.repository.deadline import Deadline, Transport
from zconnector.repository.fetch import Fetched, check_content
from zconnector.repository.layout import Address

_REDIRECTS = (301, 302, 303, 307, 308)
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Statuses after which the same request may succeed."""
_MAX_ETAG = 256


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Seconds, and how often."""

    connect: float = 10.0
    idle: float = 30.0
    """Between two pieces of an answer."""
    whole: float = 300.0
    """For one file, with all attempts."""
    attempts: int = 4
    backoff: float = 0.5
    """Before the second attempt at most; doubled before each further one, with jitter."""
    max_backoff: float = 8.0
    redirects: int = 3


class _Again(Exception):
    """An attempt failed in a way that the next one need not."""


class _After(tenacity.stop.stop_base):
    """Stop once the time for the whole file is over."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        return self._deadline.passed


class HttpFetcher:
    """Files of a web server. `sleep` waits between attempts."""

    def __init__(
        self,
        address: Address,
        *,
        limits: HttpLimits | None = None,
        ca_file: Path | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = tenacity.nap.sleep,
    ) -> None:
        """Raises ConfigError when the file of the authority cannot be read."""
        self.address = address
        self._limits = limits or HttpLimits()
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._deadline = Deadline(self._clock)
        # Nothing of the environment: a proxy or a .netrc there was not meant for workers.
        self._client = httpx.Client(
            timeout=httpx.Timeout(self._limits.idle, connect=self._limits.connect),
            follow_redirects=False,
            trust_env=False,
            transport=Transport(_authorities(ca_file), self._deadline),
            headers={"Accept-Encoding": "identity", "User-Agent": "zconnector"},
        )

    def __enter__(self) -> HttpFetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def fetch(self, path: str, limit: int, etag: str = "") -> Fetched | None:
        where = self.address.of(path)
        self._deadline.at = self._clock.now().mono + self._limits.whole
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self._limits.attempts),
                _After(self._deadline),
            ),
            wait=tenacity.wait_random_exponential(self._limits.backoff, self._limits.max_backoff),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._attempt, where, limit, etag)
        except _Again as error:
            count = retrying.statistics["attempt_number"]
            raise FetchError(
                f"cannot fetch {where}: {error} (attempt {count} of {self._limits.attempts})"
            ) from None

    def _attempt(self, where: str, limit: int, etag: str) -> Fetched | None:
        """One request, and those that redirects ask for. Raises _Again, FetchError."""
        url = httpx.URL(where)
        for _ in range(self._limits.redirects + 1):
            try:
                with self._client.stream(
                    "GET", url, headers={"If-None-Match": etag} if etag else {}
                ) as answer:
                    if answer.status_code not in _REDIRECTS:
                        return self._answer(answer, where, limit, etag)
                    url = _target(url, answer.headers.get("location", ""), where)
            except httpx.TimeoutException as error:
                if self._deadline.passed:
                    raise self._late(where) from None
                raise _Again(f"no answer in time ({type(error).__name__})") from None
            except httpx.TransportError as error:
                if _is_of_certificate(error):
                    raise FetchError(f"cannot fetch {where}: {_short(error)}") from None
                raise _Again(_short(error)) from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchError(f"cannot fetch {where}: {_short(error)}") from None
        raise FetchError(f"{where}: more than {self._limits.redirects} redirects, which is the limit")

    def _answer(self, answer: httpx.Response, where: str, limit: int, etag: str) -> Fetched | None:
        status = answer.status_code
        if status == HTTPStatus.NOT_MODIFIED and etag:
            return None
        if status in _AGAIN:
            raise _Again(f"status {status} {answer.reason_phrase}".strip())
        if status != HTTPStatus.OK:
            said = f"{status} {answer.reason_phrase}".strip()
            raise FetchError(f"cannot fetch {where}: status {said}, must be 200")
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise FetchError(f"{where} came with Content-Encoding {encoding!r:.60}, must come as it is")
        if answer.headers.get("content-type", "").lower().startswith(("text/html", "application/xhtml")):
            raise FetchError(f"{where} is an HTML page, must be a file of a worker repository")
        content = bytearray()
        for piece in answer.iter_raw():
            content += piece
            if len(content) > limit:
                raise OversizeError(f"{where} has more than {limit} bytes, which is the limit")
            if self._deadline.passed:
                raise self._late(where)
        found = bytes(content)
        check_content(found, limit, where)
        tag = answer.headers.get("etag", "")
        return Fetched(found, tag if len(tag) <= _MAX_ETAG and tag.isascii() else "")

    def _late(self, where: str) -> FetchError:
        return FetchError(f"cannot fetch {where}: not whole after {self._limits.whole:g} s")


def _target(url: httpx.URL, location: str, where: str) -> httpx.URL:
    """Where a redirect leads: to the same scheme, host and port. Raises FetchError."""
    try:
        target = httpx.URL(urljoin(str(url), location))
    except (httpx.InvalidURL, ValueError):
        raise FetchError(f"{where}: redirected to {location!r:.200}, which is no URL") from None
    if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port) or target.userinfo:
        raise FetchError(
            f"{where}: redirected to {location!r:.200}, must stay on {url.scheme}://{url.netloc.decode('ascii')}"
        )
    return target


def _authorities(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use {ca_file} as authority: {_short(error)}") from None


def _is_of_certificate(error: BaseException | None) -> bool:
    """Whether a server's certificate was refused: what is no better a second later."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
