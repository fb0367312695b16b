-- Instants are integer microseconds since 1970 in UTC, lengths of time are integer microseconds.
-- `body` columns are compact JSON: what no query asks for by itself.

CREATE TABLE mentions (
    n           INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    source      TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    at          INTEGER NOT NULL, -- the earlier of created_at and received_at: the instant it is counted at
    created_at  INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    text        TEXT    NOT NULL,
    author      TEXT    NOT NULL,
    url         TEXT    NOT NULL,
    place       TEXT    NOT NULL,
    region      TEXT    NOT NULL, -- the source's hint; what was worked out is in mention_regions
    label       TEXT    NOT NULL,
    chatter     REAL    NOT NULL,
    symptom     TEXT    NOT NULL,
    model       TEXT    NOT NULL,
    language    TEXT    NOT NULL,
    confidence  REAL    NOT NULL,
    script      TEXT    NOT NULL,
    cluster     TEXT    NOT NULL,
    matches     TEXT    NOT NULL, -- JSON, apart from `body` because erasing empties it
    body        TEXT    NOT NULL,
    erased_at   INTEGER           -- set: text, author, url, place and matches are gone and must not come back
) STRICT;
CREATE INDEX mentions_by_at ON mentions (at);
CREATE INDEX mentions_by_author ON mentions (author) WHERE author != '';
CREATE INDEX mentions_to_forget ON mentions (received_at) WHERE erased_at IS NULL;

CREATE TABLE mention_services (
    service TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    n       INTEGER NOT NULL,
    PRIMARY KEY (service, at, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE mention_regions (
    region TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (region, at, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE points (
    service   TEXT    NOT NULL,
    region    TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    observed  REAL    NOT NULL,
    posts     INTEGER NOT NULL,
    authors   INTEGER NOT NULL,
    recovered REAL    NOT NULL,
    labels    TEXT    NOT NULL,
    excluded  TEXT    NOT NULL,
    PRIMARY KEY (service, region, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE hearing (
    at     INTEGER NOT NULL,
    source TEXT    NOT NULL,
    posts  INTEGER NOT NULL,
    up     INTEGER NOT NULL,
    PRIMARY KEY (at, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE dropped (
    day    TEXT    NOT NULL,
    source TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    posts  INTEGER NOT NULL,
    PRIMARY KEY (day, source, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE incidents (
    id         TEXT    NOT NULL PRIMARY KEY,
    service    TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    body       TEXT    NOT NULL
) STRICT;
CREATE INDEX incidents_by_start ON incidents (started_at);
CREATE INDEX incidents_by_state ON incidents (state, started_at);

CREATE TABLE transitions (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- the order they were stored in; never used twice
    id         TEXT    NOT NULL UNIQUE,
    incident   TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    from_state TEXT,
    to_state   TEXT    NOT NULL,
    body       TEXT    NOT NULL -- the incident as it was right after this change
) STRICT;
CREATE INDEX transitions_by_incident ON transitions (incident, seq);

CREATE TABLE notifications (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    transition TEXT    NOT NULL,
    channel    TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    outcome    TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    attempts   INTEGER NOT NULL
) STRICT;
CREATE INDEX notifications_by_transition ON notifications (transition, channel, outcome);

CREATE TABLE cursors (
    source TEXT NOT NULL PRIMARY KEY,
    cursor TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE health (
    source          TEXT    NOT NULL PRIMARY KEY,
    kind            TEXT    NOT NULL,
    region          TEXT    NOT NULL,
    last_success_at INTEGER,
    last_item_at    INTEGER,
    errors_in_a_row INTEGER NOT NULL,
    reason          TEXT    NOT NULL,
    next_try_at     INTEGER,
    posts           INTEGER NOT NULL,
    lag             INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
