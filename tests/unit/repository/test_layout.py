"""Names, paths and addresses: what passes can be part of a path, and comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError
from zconnector.repository.layout import (
    Kind,
    Place,
    WorkerName,
    archive_path,
    path_of,
    pivot_path,
    place_of,
    product_path,
    read_address,
    read_version,
    versions_path,
)

JENKINS = WorkerName("ci", "jenkins")
NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
NUMBERS = st.integers(0, 127)


def test_the_layout_is_gandalfs() -> None:
    version = Version(1, 10)
    assert versions_path(JENKINS) == "workers/ci/jenkins/versions.yaml"
    assert archive_path(JENKINS, version) == "workers/ci/jenkins/1/10/worker.zip"
    assert pivot_path("ci", version) == "configurations/ci/1_10_pivot.yaml"
    assert product_path(JENKINS, version) == "configurations/ci/jenkins/1_10_connector_product.yaml"


@given(st.sampled_from(Kind), NAMES, NAMES, NUMBERS, NUMBERS)
def test_a_path_says_what_it_is(kind: Kind, type_: str, product: str, major: int, minor: int) -> None:
    place = Place(
        kind,
        type_,
        "" if kind is Kind.PIVOT else product,
        None if kind is Kind.VERSIONS else Version(major, minor),
    )
    assert place_of(path_of(place)) == place


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["workers", "ci", "..", "", "1", "01", "worker.zip"]), max_size=7).map(
        "/".join
    )
)
def test_any_other_path_is_none_or_exactly_one_place(path: str) -> None:
    place = place_of(path)
    assert place is None or path_of(place) == path


@pytest.mark.parametrize(
    "path",
    [
        "workers/ci/../1/0/worker.zip",
        "workers/Ci/jenkins/1/0/worker.zip",
        "workers/ci/jenkins/01/0/worker.zip",
        "workers/ci/jenkins/128/0/worker.zip",
        "workers/ci/jenkins/1/0/worker.zip/",
        "workers/ci/jenkins/1/\u0661/worker.zip",
        "configurations/ci/1_0_0_pivot.yaml",
        "configurations/ci/_pivot.yaml",
        "/workers/ci/jenkins/versions.yaml",
        "manifest.json",
        "workers/ci/jenkins\n/versions.yaml",
    ],
)
def test_what_is_no_path_of_the_layout(path: str) -> None:
    assert place_of(path) is None


@pytest.mark.parametrize("name", ["", "..", ".a", "Ci", "a/b", "a\n", "é", "a" * 65, "-a"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="type of a worker must be"):
        WorkerName(name, "p")
    with pytest.raises(ConfigError, match="product of a worker must be"):
        WorkerName("t", name)


@pytest.mark.parametrize("text", ["1", "1.", ".1", "1.0.0", "01.0", "128.0", "a.b", "1.-1", ""])
def test_a_version_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError):
        read_version(text)


def test_a_version() -> None:
    assert read_version("1.10") == Version(1, 10)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("https://example.com/repo/", "https://example.com/repo/manifest.json"),
        ("https://example.com:8443", "https://example.com:8443/manifest.json"),
        ("http://127.0.0.1:80/a", "http://127.0.0.1:80/a/manifest.json"),
        ("http://[::1]:80/a", "http://[::1]:80/a/manifest.json"),
        ("http://localhost/a", "http://localhost/a/manifest.json"),
        ("file:///srv/repo", "file:///srv/repo/manifest.json"),
    ],
)
def test_an_address(text: str, file: str) -> None:
    assert read_address(text).of("manifest.json") == file


def test_the_folder_of_a_file_address() -> None:
    assert read_address("file:///srv/my%20repo/").folder == "/srv/my repo"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("http://example.com/", "http is for loopback only"),
        ("http://127.0.0.1.example.com/", "http is for loopback only"),
        ("http://2130706433/", "http is for loopback only"),
        ("ftp://example.com/", "must begin with"),
        ("/srv/repo", "must begin with"),
        ("file://host/srv", "three slashes"),
        ("file:srv", "three slashes"),
        ("file:///", "three slashes"),
        ("https://", "must name a host"),
        ("https://example.com:99999/", "must be a URL"),
        ("https://[::1/", "must be a URL"),
        ("https://example.com/?q=1", "no query"),
        ("https://example.com/#x", "no query"),
        ("https://example.com/a/../b", "without '.' or '..'"),
        ("file:///srv/%2e%2e/etc", "without '.' or '..'"),
        ("file:///srv/%00", "plain path"),
        ("https://exa mple.com/", "without blanks"),
        ("https://example.com/\n", "printable"),
        ("https://" + "a" * 2000, "at most"),
    ],
)
def test_an_address_that_is_refused(text: str, rule: str) -> None:
    with pytest.raises(ConfigError, match="address of a repository") as raised:
        read_address(text)
    assert rule in str(raised.value)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as raised:
        read_address("https://joe:hunter2@example.com/")
    assert "hunter2" not in str(raised.value)
    assert "no user or password" in str(raised.value)
