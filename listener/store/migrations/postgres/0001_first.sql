-- Instants are integer microseconds since 1970 in UTC, lengths of time are integer microseconds.
-- `body` columns are compact JSON: what no query asks for by itself. Text is compared by code point, as SQLite does.

CREATE SEQUENCE mentions_n;

CREATE TABLE mentions (
    n           bigint           NOT NULL PRIMARY KEY,
    key         bytea            NOT NULL UNIQUE, -- a digest of the id, which may be longer than an index entry may be
    id          text COLLATE "C" NOT NULL,
    source      text COLLATE "C" NOT NULL,
    kind        text COLLATE "C" NOT NULL,
    at          bigint           NOT NULL, -- the earlier of created_at and received_at: the instant it is counted at
    created_at  bigint           NOT NULL,
    received_at bigint           NOT NULL,
    week        integer          NOT NULL, -- the partition of `texts` that has, or had, its text
    region      text COLLATE "C" NOT NULL, -- the source's hint; what was worked out is in mention_regions
    label       text COLLATE "C" NOT NULL,
    chatter     double precision NOT NULL,
    symptom     text COLLATE "C" NOT NULL,
    model       text COLLATE "C" NOT NULL,
    language    text COLLATE "C" NOT NULL,
    confidence  double precision NOT NULL,
    script      text COLLATE "C" NOT NULL,
    cluster     text COLLATE "C" NOT NULL,
    body        text COLLATE "C" NOT NULL
);
CREATE INDEX mentions_by_at ON mentions (at);

-- What is erased when its author, its source or the retention wants it. A mention without a row here was erased and must
-- not come back. Partitioned by the week of arrival, so that old weeks are dropped as whole files.
CREATE TABLE texts (
    week        integer          NOT NULL,
    n           bigint           NOT NULL,
    received_at bigint           NOT NULL,
    text        text COLLATE "C" NOT NULL,
    author      text COLLATE "C" NOT NULL,
    url         text COLLATE "C" NOT NULL,
    place       text COLLATE "C" NOT NULL,
    matches     text COLLATE "C" NOT NULL, -- JSON
    PRIMARY KEY (week, n)
) PARTITION BY LIST (week);
CREATE INDEX texts_by_author ON texts USING hash (author) WHERE author <> '';
CREATE INDEX texts_to_forget ON texts (received_at);
CREATE TABLE texts_other PARTITION OF texts FOR VALUES IN (0); -- weeks beyond the number of partitions we make

CREATE TABLE mention_services (
    service text COLLATE "C" NOT NULL,
    at      bigint           NOT NULL,
    n       bigint           NOT NULL,
    PRIMARY KEY (service, at, n)
);

CREATE TABLE mention_regions (
    region text COLLATE "C" NOT NULL,
    at     bigint           NOT NULL,
    n      bigint           NOT NULL,
    PRIMARY KEY (region, at, n)
);

CREATE TABLE points (
    service   text COLLATE "C" NOT NULL,
    region    text COLLATE "C" NOT NULL,
    at        bigint           NOT NULL,
    observed  double precision NOT NULL CHECK (observed <> 'NaN'),
    posts     bigint           NOT NULL,
    authors   bigint           NOT NULL,
    recovered double precision NOT NULL CHECK (recovered <> 'NaN'),
    labels    text COLLATE "C" NOT NULL,
    excluded  text COLLATE "C" NOT NULL,
    PRIMARY KEY (service, region, at)
) WITH (fillfactor = 80); -- the points of a minute are written again and again while it lasts

CREATE TABLE expected (
    service text COLLATE "C" NOT NULL,
    region  text COLLATE "C" NOT NULL,
    at      bigint           NOT NULL, -- the hour's start
    mean    double precision NOT NULL,
    high    double precision NOT NULL,
    PRIMARY KEY (service, region, at)
);

CREATE TABLE hearing (
    at     bigint           NOT NULL,
    source text COLLATE "C" NOT NULL,
    posts  bigint           NOT NULL,
    up     boolean          NOT NULL,
    PRIMARY KEY (at, source)
) WITH (fillfactor = 80);

CREATE TABLE dropped (
    day    text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    posts  bigint           NOT NULL,
    PRIMARY KEY (day, source, reason)
) WITH (fillfactor = 50);

CREATE TABLE incidents (
    id         text COLLATE "C" NOT NULL PRIMARY KEY,
    service    text COLLATE "C" NOT NULL,
    state      text COLLATE "C" NOT NULL,
    started_at bigint           NOT NULL,
    updated_at bigint           NOT NULL,
    body       text COLLATE "C" NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX incidents_by_start ON incidents (started_at);
CREATE INDEX incidents_by_state ON incidents (state, started_at);

CREATE TABLE transitions (
    seq        bigint           NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY, -- the order they were stored in
    id         text COLLATE "C" NOT NULL UNIQUE,
    incident   text COLLATE "C" NOT NULL,
    at         bigint           NOT NULL,
    from_state text COLLATE "C",
    to_state   text COLLATE "C" NOT NULL,
    body       text COLLATE "C" NOT NULL -- the incident as it was right after this change
);
CREATE INDEX transitions_by_incident ON transitions (incident, seq);

CREATE TABLE notifications (
    seq        bigint           NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    transition text COLLATE "C" NOT NULL,
    channel    text COLLATE "C" NOT NULL,
    at         bigint           NOT NULL,
    outcome    text COLLATE "C" NOT NULL,
    reason     text COLLATE "C" NOT NULL,
    attempts   bigint           NOT NULL
);
CREATE INDEX notifications_by_transition ON notifications (transition, channel, outcome);

CREATE TABLE cursors (
    source text COLLATE "C" NOT NULL PRIMARY KEY,
    cursor text COLLATE "C" NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE health (
    source          text COLLATE "C" NOT NULL PRIMARY KEY,
    kind            text COLLATE "C" NOT NULL,
    region          text COLLATE "C" NOT NULL,
    last_success_at bigint,
    last_item_at    bigint,
    errors_in_a_row bigint           NOT NULL,
    reason          text COLLATE "C" NOT NULL,
    next_try_at     bigint,
    posts           bigint           NOT NULL,
    lag             bigint
) WITH (fillfactor = 50);

CREATE TABLE marks (
    name  text COLLATE "C" NOT NULL PRIMARY KEY,
    value text COLLATE "C" NOT NULL
) WITH (fillfactor = 50);
