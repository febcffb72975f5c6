"""The tables of the cluster store in SQLite, version by version."""

MIGRATIONS = (
    """
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    uuid TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    size INTEGER NOT NULL,
    header BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX journal_seq ON journal (tenant, stream, seq);
CREATE UNIQUE INDEX journal_uuid ON journal (tenant, stream, kind, uuid);
CREATE TABLE streams (
    tenant TEXT NOT NULL,
    stream INTEGER NOT NULL,
    last INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, stream)
) WITHOUT ROWID;
CREATE TABLE resolutions (
    tenant TEXT NOT NULL,
    uuid TEXT NOT NULL,
    digest TEXT NOT NULL,
    target TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, uuid)
) WITHOUT ROWID;
CREATE INDEX resolutions_at ON resolutions (at);
CREATE TABLE components (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    instance TEXT NOT NULL,
    type TEXT NOT NULL,
    permissions BLOB NOT NULL,
    hashed TEXT NOT NULL,
    key TEXT NOT NULL,
    revoked INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    server_key TEXT NOT NULL,
    PRIMARY KEY (tenant, kind, name, instance)
) WITHOUT ROWID;
CREATE TABLE pivots (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    major INTEGER NOT NULL,
    minor INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (tenant, name, major, minor)
);
CREATE TABLE products (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    product TEXT NOT NULL,
    major INTEGER NOT NULL,
    minor INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (tenant, name, product, major, minor)
);
CREATE TABLE configurations (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    saved BLOB NOT NULL,
    operator BLOB NOT NULL,
    PRIMARY KEY (tenant, name)
);
""",
    """
ALTER TABLE journal ADD COLUMN reference TEXT NOT NULL DEFAULT '';
CREATE INDEX journal_reference ON journal (reference, tenant) WHERE reference != '';
""",
)
"""Version 2: a reply is found by the command that it is about. Migrations are only ever added."""
