-- How posts of a source fell into the buckets of a measure on a UTC day, as one model saw them: what drift is read from.

CREATE TABLE tallies (
    day     TEXT    NOT NULL,
    source  TEXT    NOT NULL,
    model   TEXT    NOT NULL, -- digest
    measure TEXT    NOT NULL,
    bucket  TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (day, source, model, measure, bucket)
) STRICT, WITHOUT ROWID;
