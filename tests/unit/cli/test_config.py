"""`zconnector config`: what is typed, before a member hears of it; and what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from zconnector.cli.config import _assignments, _from_file, masked
from zconnector.cli.main import main
from zconnector.errors import ConfigError


def test_values_are_json_where_they_can_be_and_else_text(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3 cret\n")
    (tmp_path / "list").write_text('["a"]\r\n')
    typed = (
        "product=jenkins",
        'versions=["1.0"]',
        "shares.1.1=10",
        "keys.url=http://x/?a=b",
        "keys.empty=",
        'keys.digits="123"',
        f"keys.token=@{tmp_path / 'secret'}",
        f"keys.list=@{tmp_path / 'list'}",
        "keys.at=@",
        "keys.minus=-5",
    )
    assert dict(_assignments(typed, None)) == {
        "product": "jenkins",
        "versions": ["1.0"],
        "shares.1.1": 10,
        "keys.url": "http://x/?a=b",
        "keys.empty": "",
        "keys.digits": "123",
        "keys.token": "s3 cret",
        "keys.list": ["a"],
        "keys.at": "@",
        "keys.minus": -5,
    }


def test_a_file_is_yaml_or_json(tmp_path: Path) -> None:
    file = tmp_path / "ci.yaml"
    file.write_text('product: jenkins\nversions: ["1.0"]\nshares:\n  "1.0": 5\n')
    assert _from_file(file) == {"product": "jenkins", "versions": ["1.0"], "shares": {"1.0": 5}}
    file.write_text('{"product": "x"}')
    assert _from_file(file) == {"product": "x"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shares:\n  1.1: 10\n", r"shares: a name must be a text \(got 1\.1\): quote it"),
        ("a: [{1: 2}]", r"a\[0\]: a name must be a text \(got 1\): quote it"),
        ("1: 2", r"a name must be a text \(got 1\): quote it"),
        ("[1]", "must be a mapping"),
        ("a: [", "no valid YAML"),
        ("x" * ((1 << 20) + 1), "has more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(ConfigError, match=said):
        _from_file(tmp_path / "f")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["set", "ci"], 2, "nothing to set: give NAME=VALUE or --from FILE"),
        (["set", "ci", "product"], 2, "each change must be NAME=VALUE (got 'product')"),
        (["set", "ci", "=s3cret"], 2, "each change must be NAME=VALUE (got '')"),
        (["set", "ci", "a=1", "a=2"], 2, "a is given twice"),
        (["set", "ci", "a=-", "b=@-"], 2, "b=-: stdin can be read once"),
        (["set", "ci", "--from", "-", "b=-"], 2, "b=-: stdin can be read once"),
        (["set", "ci", "keys.token=@nowhere"], 78, "cannot read nowhere: No such file or directory"),
        (["set", "ci", "keys.token=@bytes"], 78, "bytes must be UTF-8 (invalid start byte at byte 0)"),
        (["set", "ci", "keys.token=\udcff"], 78, "the value of keys.token must be UTF-8"),
        (["set", "ci", "a=1"], 69, "nothing runs in"),
        (["unset", "ci"], 2, "Missing argument 'NAME...'"),
        (["unset", "ci", "a"], 69, "nothing runs in"),
        (["show", "ci"], 69, "nothing runs in"),
    ],
)
def test_a_mistake_is_named_and_tells_no_secret(
    argv: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bytes").write_bytes(b"\xffs3cret")
    Path("in").write_text("{}")
    with open("in") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["config", *argv]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "s3cret" not in captured.err
    assert "Traceback" not in captured.err


def test_the_values_of_keys_are_masked() -> None:
    values = {"product": "x", "keys": {"token": "s3cret", "more": {"s3cret": ["s3cret"]}}}
    assert masked(values) == {"product": "x", "keys": {"token": "***", "more": "***"}}
    assert masked({"keys": "s3cret"}) == {"keys": "***"}
    assert masked({"keys": None, "a": 1}) == {"keys": None, "a": 1}
    assert values["keys"] == {"token": "s3cret", "more": {"s3cret": ["s3cret"]}}
