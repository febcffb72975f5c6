"""What holds for files of a repository, whichever way they come: from a folder, or from a web server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.web import PAGE, Web
from zconnector.errors import FetchError
from zconnector.repository.fetch import Fetcher, FileFetcher
from zconnector.repository.fetch_http import HttpFetcher
from zconnector.repository.layout import read_address

PATH = "workers/ci/jenkins/1/0/worker.zip"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_bytes(b"PK" * 50)
    return tmp_path


@pytest.fixture(params=["file", "http"])
def fetcher(request: pytest.FixtureRequest, folder: Path) -> Iterator[Fetcher]:
    if request.param == "file":
        with FileFetcher(read_address(f"file://{folder}")) as opened:
            yield opened
        return
    with Web(folder) as web, HttpFetcher(read_address(web.address), sleep=lambda _: None) as client:
        yield client


def test_a_file_comes_whole(fetcher: Fetcher) -> None:
    found = fetcher.fetch(PATH, 100)
    assert found is not None
    assert found.content == b"PK" * 50


def test_what_did_not_change_does_not_come_again(fetcher: Fetcher, folder: Path) -> None:
    first = fetcher.fetch(PATH, 100)
    assert first is not None
    assert first.etag
    assert fetcher.fetch(PATH, 100, first.etag) is None
    (folder / PATH).write_bytes(b"PK changed")
    again = fetcher.fetch(PATH, 100, first.etag)
    assert again is not None
    assert again.content == b"PK changed"
    assert again.etag != first.etag


def test_an_etag_of_something_else_does_no_harm(fetcher: Fetcher) -> None:
    assert fetcher.fetch(PATH, 100, '"other"') is not None


def test_what_is_not_there_is_an_error_with_its_address(fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match="manifest") as raised:
        fetcher.fetch("manifest.json", 100)
    assert f"{fetcher.address}/manifest.json" in str(raised.value)


def test_a_folder_is_no_file(fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match="workers/ci"):
        fetcher.fetch("workers/ci", 100)


def test_what_is_too_large_is_an_error_with_its_limit(fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match=r"worker\.zip has more than 99 bytes"):
        fetcher.fetch(PATH, 99)


def test_an_empty_file_comes(fetcher: Fetcher, folder: Path) -> None:
    (folder / PATH).write_bytes(b"")
    found = fetcher.fetch(PATH, 0)
    assert found is not None
    assert found.content == b""


@pytest.mark.parametrize("page", [PAGE, b"\xef\xbb\xbf\n <HTML>"])
def test_a_page_is_an_error_with_its_address(page: bytes, fetcher: Fetcher, folder: Path) -> None:
    """What a proxy, a portal or a login gives in place of a file."""
    (folder / PATH).write_bytes(page)
    with pytest.raises(FetchError, match="is an HTML page") as raised:
        fetcher.fetch(PATH, 1000)
    assert fetcher.address.of(PATH) in str(raised.value)
