from __future__ import annotations

from typing import Any

import orjson
import pytest

from zconnector.configuration.catalogue import Catalogue
from zconnector.configuration.pivot import Pivot, ProductConnector, Version, implicit_pivot
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message

SCHEMA = {"type": "object", "required": ["a"]}


def pivot(major: int, minor: int, **commands: Any) -> Pivot:
    items = [{"name": name, "schema": schema} for name, schema in commands.items()]
    return Pivot.from_dict({"name": "Ci", "major": major, "minor": minor, "commandtypes": items})


def product(name: str, major: int, minor: int, *commands: str) -> ProductConnector:
    document = {"product": name, "name": "Ci", "major": major, "minor": minor, "commandtypes": list(commands)}
    return ProductConnector.from_dict(document)


def command(name: str, major: int = 0, payload: bytes = b"{}", **more: Any) -> Message:
    return Message(
        Kind.COMMAND, {"uuid": "u", "type": "Ci", "command": name, "major": major, **more}, payload
    )


def reason(catalogue: Catalogue, message: Message) -> Reason | None:
    refusal = catalogue.check(message)
    return refusal.reason if refusal else None


CATALOGUE = Catalogue(
    [pivot(2, 0, DO=None, NEW=None), pivot(1, 0, DO=SCHEMA, GONE=None), pivot(1, 1, DO=SCHEMA, LATER=None)],
    [product("jenkins", 1, 1, "BUILD"), product("jenkins", 3, 0, "BUILD")],
)


def test_versions_and_the_highest() -> None:
    assert [str(version) for version in CATALOGUE.versions] == ["1.0", "1.1", "2.0", "3.0"]
    assert CATALOGUE.highest(1) == Version(1, 1)
    assert CATALOGUE.highest(0) == Version(3, 0)
    assert CATALOGUE.highest(4) is None
    assert Catalogue().highest(0) is None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (command("DO", 2), None),
        (command("DO", 1), Reason.INVALID_PAYLOAD),
        (command("DO", 1, b'{"a":1}'), None),
        (command("DO", 0), None),  # the newest that declares it: 2.0, without a schema
        (command("GONE", 1), Reason.UNKNOWN_COMMAND),  # 1.1 decides for major 1
        (command("GONE", 0), None),
        (command("LATER", 1), None),
        (command("NEW", 1), Reason.UNKNOWN_COMMAND),
        (command("BUILD", 1), None),
        (command("BUILD", 3), None),
        (command("DO", 3), Reason.UNKNOWN_COMMAND),
        (command("DO", 4), Reason.UNKNOWN_VERSION),
        (command("DO", -1), Reason.UNKNOWN_VERSION),
        (command("NEVER", 0), Reason.UNKNOWN_COMMAND),
        (command("ADMIN_UPDATE", 9, b"x", admin=True), None),
        (command("ADMIN_UPDATE", 0), Reason.UNKNOWN_COMMAND),
    ],
)
def test_check(message: Message, expected: Reason | None) -> None:
    assert reason(CATALOGUE, message) == expected


def test_declared_says_the_same_without_looking_at_the_payload() -> None:
    assert CATALOGUE.declared(command("DO", 1)) is None
    refusal = CATALOGUE.declared(command("NEW", 1))
    assert refusal is not None
    assert "not major 1 of Ci declares 'NEW'" in refusal.detail
    assert CATALOGUE.declares(2, "NEW")
    assert not CATALOGUE.declares(1, "NEW")


def test_an_empty_catalogue_knows_no_version() -> None:
    assert reason(Catalogue(), command("DO")) is Reason.UNKNOWN_VERSION


def test_missing_names_what_pivot_and_products_declare_beyond_the_list() -> None:
    catalogue = Catalogue(
        [pivot(1, 0, A=None, B=None, ADMIN_X=None), implicit_pivot("Ci", 2, 0, ["A"])],
        [product("x", 1, 0, "C")],
    )
    assert catalogue.missing(1, 0, ["A", "EXTRA"]) == ["B", "C"]
    assert catalogue.missing(1, 0, ["C", "B", "A"]) == []
    assert catalogue.missing(2, 0, []) == []
    with pytest.raises(Refusal) as refusal:
        catalogue.missing(1, 1, ["A"])
    assert refusal.value.reason is Reason.UNKNOWN_VERSION


def test_the_json_form_gives_the_same_catalogue_back() -> None:
    again = Catalogue.from_dict(orjson.loads(orjson.dumps(CATALOGUE.to_dict())))
    assert (again.pivots, again.products) == (CATALOGUE.pivots, CATALOGUE.products)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "configuration must be a JSON object, not list"),
        ({"pivots": {}}, "pivots: must be a list, not dict"),
        ({"products": [1]}, "products[0]: must be an object, not int"),
        ({"pivots": [{"name": "x", "major": 1}, {}]}, "pivots[1].name: must be"),
    ],
)
def test_a_bad_document_is_refused(document: Any, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Catalogue.from_dict(document)
    assert str(error.value).startswith(said)


def test_the_retry_of_a_product_connector_goes_over_that_of_the_pivot_key_by_key() -> None:
    def document(**retry: int) -> dict[str, object]:
        return {"name": "Git", "major": 1, "commandtypes": [{"name": "CLONE", "retry": retry}]}

    product = ProductConnector.from_dict({**document(attempts=9), "product": "GitLab"})
    catalogue = Catalogue([Pivot.from_dict(document(attempts=2, first=7))], [product])
    command = Message(Kind.COMMAND, {"type": "Git", "command": "CLONE", "major": 0})
    assert catalogue.retry(command) == {"attempts": 9, "first": 7}
    assert catalogue.retry(command.with_fields(major=1)) == {"attempts": 9, "first": 7}
    assert catalogue.retry(command.with_fields(major=2)) == {}
    assert catalogue.has_retries
    assert not CATALOGUE.has_retries
    assert catalogue.retry(command.with_fields(command="PULL")) == {}
