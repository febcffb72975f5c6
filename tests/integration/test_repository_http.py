"""Web servers that misbehave: an answer or an error with the address, soon, and never from elsewhere."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.repositories import JENKINS, KEY, publish, worker_folder
from tests.support.web import PAGE, Answer, Web
from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError, FetchError, UntrustedError
from zconnector.repository.fetch import Fetched
from zconnector.repository.fetch_http import HttpFetcher, HttpLimits
from zconnector.repository.install import install, installed_versions
from zconnector.repository.layout import read_address
from zconnector.repository.source import Source

FILE = "/manifest.json"
PATIENT = HttpLimits(connect=10.0, idle=10.0, whole=30.0, attempts=3, backoff=0.5)
NO_ANSWER = "no answer"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "manifest.json").write_bytes(b"{}")
    with Web(tmp_path) as served:
        yield served


class Client:
    """A fetcher with its waits recorded instead of waited for."""

    def __init__(self, address: str, limits: HttpLimits = PATIENT, ca_file: Path | None = None) -> None:
        self.waits: list[float] = []
        self._fetcher = HttpFetcher(
            read_address(address), limits=limits, ca_file=ca_file, sleep=self.waits.append
        )

    def fetch(self, limit: int = 100, etag: str = "") -> Fetched | None:
        with self._fetcher:
            return self._fetcher.fetch("manifest.json", limit, etag)


def refused(web: Web, said: str, *, attempts: int = 1, limits: HttpLimits = PATIENT) -> str:
    client = Client(web.address, limits)
    with pytest.raises(FetchError) as raised:
        client.fetch()
    assert f"{web.address}{FILE}" in str(raised.value)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(web.asked) == attempts
    assert len(client.waits) == attempts - 1
    return str(raised.value)


def test_a_404_with_a_page(web: Web) -> None:
    (web.folder / "manifest.json").unlink()
    refused(web, "status 404 Not Found, must be 200")


def test_a_page_with_status_200(web: Web) -> None:
    web.special[FILE] = lambda answer: answer.give(
        200, b"  hello", {"Content-Type": "text/html; charset=utf-8"}
    )
    refused(web, "is an HTML page")


@pytest.mark.parametrize("status", [401, 403, 410, 204, 206, 304])
def test_another_status_is_not_tried_again(status: int, web: Web) -> None:
    web.special[FILE] = lambda answer: answer.give(status, b"")
    refused(web, f"status {status}")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_then_told(status: int, web: Web) -> None:
    web.special[FILE] = lambda answer: answer.give(status, PAGE)
    assert "attempt 3 of 3" in refused(web, f"status {status}", attempts=3)


def failing_once(web: Web, fail: object) -> None:
    def answer(request: Answer) -> None:
        del web.special[FILE]
        fail(request)  # type: ignore[operator]

    web.special[FILE] = answer


def reset_midway(answer: Answer) -> None:
    answer.send_response(200)
    answer.send_header("Content-Length", "100")
    answer.end_headers()
    answer.wfile.write(b"{")
    answer.wfile.flush()
    answer.reset()


FAILURES = {
    "busy": lambda answer: answer.give(503, b""),
    "reset": lambda answer: answer.reset(),
    "reset midway": reset_midway,
    "truncated": lambda answer: answer.give(200, b"{", length=2),
    NO_ANSWER: lambda answer: answer.server.web.hold.wait(20),
    "no HTTP": lambda answer: answer.wfile.write(b"\x00\x01\x02\r\n\r\n"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_fails_once_is_tried_again(failure: str, web: Web) -> None:
    failing_once(web, FAILURES[failure])
    # The second answer has as long as the first one was waited for.
    client = Client(web.address, replace(PATIENT, idle=1.0) if failure == NO_ANSWER else PATIENT)
    found = client.fetch()
    assert found is not None
    assert found.content == b"{}"
    assert len(client.waits) == 1
    assert 0 <= client.waits[0] <= PATIENT.backoff * 2


@pytest.mark.parametrize("failure", FAILURES)
def test_what_fails_always_is_an_error(failure: str, web: Web) -> None:
    web.special[FILE] = FAILURES[failure]
    limits = replace(PATIENT, idle=0.1) if failure == NO_ANSWER else PATIENT
    refused(web, "cannot fetch", attempts=3, limits=limits)


def test_who_sends_slowly_for_ever_is_left(web: Web) -> None:
    """Each piece comes in time; the whole does not."""

    def drip(answer: Answer) -> None:
        answer.send_response(200)
        answer.send_header("Content-Length", "100")
        answer.end_headers()
        for _ in range(100):
            answer.wfile.write(b" ")
            answer.wfile.flush()
            if answer.server.web.hold.wait(0.05):
                return

    web.special[FILE] = drip
    refused(web, "not whole after 0.3 s", limits=HttpLimits(idle=5.0, whole=0.3))


def test_who_drips_headers_is_left(web: Web) -> None:
    def drip(answer: Answer) -> None:
        answer.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(100):
            answer.wfile.write(b"x")
            answer.wfile.flush()
            if answer.server.web.hold.wait(0.05):
                return

    web.special[FILE] = drip
    refused(web, "not whole after 0.3 s", limits=HttpLimits(idle=5.0, whole=0.3))


def test_who_sends_without_end_is_left(web: Web) -> None:
    def flood(answer: Answer) -> None:
        answer.send_response(200)
        answer.send_header("Transfer-Encoding", "chunked")
        answer.end_headers()
        while not answer.server.web.hold.is_set():
            answer.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    web.special[FILE] = flood
    refused(web, "has more than 100 bytes")


def test_a_packed_answer_is_refused(web: Web) -> None:
    packed = gzip.compress(bytes(10_000_000))
    web.special[FILE] = lambda answer: answer.give(200, packed, {"Content-Encoding": "gzip"})
    refused(web, "Content-Encoding 'gzip'")
    assert web.asked[0][1]["Accept-Encoding"] == "identity"


def redirect(location: str) -> object:
    return lambda answer: answer.give(302, b"", {"Location": location})


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/manifest.json",
        "http://localhost/manifest.json",
        "https://example.com/manifest.json",
        "file:///etc/passwd",
        "//example.com/manifest.json",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_nobody_is_led_elsewhere(location: str, web: Web) -> None:
    web.special[FILE] = redirect(location)  # type: ignore[assignment]
    assert location in refused(web, "must stay on http://127.0.0.1:")


def test_a_redirect_on_the_same_server_is_followed(web: Web) -> None:
    web.special[FILE] = redirect("/mirror/m")  # type: ignore[assignment]
    web.special["/mirror/m"] = redirect(f"{web.address}/real")  # type: ignore[assignment]
    (web.folder / "real").write_bytes(b"[]")
    found = Client(web.address).fetch()
    assert found is not None
    assert found.content == b"[]"


def test_redirects_in_a_circle(web: Web) -> None:
    web.special[FILE] = redirect(FILE)  # type: ignore[assignment]
    client = Client(web.address)
    with pytest.raises(FetchError, match="more than 3 redirects"):
        client.fetch()
    assert len(web.asked) == 4


def test_a_304_that_nobody_asked_for(web: Web) -> None:
    web.special[FILE] = lambda answer: answer.give(304, b"")
    refused(web, "status 304")


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = Client(f"http://127.0.0.1:{bound.getsockname()[1]}")
        with pytest.raises(FetchError, match=r"cannot fetch http://127\.0\.0\.1:.*attempt 3 of 3"):
            client.fetch()


def test_the_environment_does_not_lead_elsewhere(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert Client(web.address).fetch() is not None


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of its own authority for 127.0.0.1, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "cert.pem"
    file.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return file


def test_https_with_an_authority_of_ones_own_and_without(certificate: Path, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    (tmp_path / "manifest.json").write_bytes(b"{}")
    with Web(tmp_path, context) as web:
        found = Client(web.address, ca_file=certificate).fetch()
        assert found is not None
        assert found.content == b"{}"
        client = Client(web.address)
        with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
            client.fetch()
        assert client.waits == []  # tried again it would be no better
        web.special[FILE] = redirect(web.address.replace("https", "http") + FILE)  # type: ignore[assignment]
        with pytest.raises(FetchError, match="must stay on https"):
            Client(web.address, ca_file=certificate).fetch()


def test_an_authority_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="as authority"):
        Client("https://127.0.0.1", ca_file=tmp_path / "none")


def test_a_worker_is_installed_and_updated_from_a_web_server(tmp_path: Path) -> None:
    repository, root = tmp_path / "r", tmp_path / "root"
    publish(repository, worker_folder(tmp_path / "w10"))
    with Web(repository) as web:
        at = Source(read_address(web.address), (KEY.public,))
        first = install(at, root, JENKINS, Version(1, 0))
        assert install(at, root, JENKINS, Version(1, 0)) == first
        paths = [path for path, _ in web.asked]
        assert paths.count(FILE) == 2
        assert len(paths) == 5  # archive, pivot and product connector once
        assert "If-None-Match" in web.asked[-1][1]

        publish(repository, worker_folder(tmp_path / "w11", 1, 1))
        archive = "/workers/ci/jenkins/1/1/worker.zip"
        whole = (repository / archive[1:]).read_bytes()
        for wrong, error in (
            (lambda answer: answer.give(200, whole[:-1] + b"x"), UntrustedError),
            (lambda answer: answer.give(200, whole[:-1]), UntrustedError),
            (lambda answer: answer.give(200, whole + b"x"), UntrustedError),
            (lambda answer: answer.give(404, PAGE), FetchError),
        ):
            web.special[archive] = wrong
            with pytest.raises(error, match=f"{web.address}{archive}"):
                install(at, root, JENKINS, Version(1, 1))
            assert installed_versions(root, JENKINS) == [first]
        del web.special[archive]
        second = install(at, root, JENKINS, Version(1, 1))
    assert installed_versions(root, JENKINS) == [second, first]
