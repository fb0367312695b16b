-- What was usual for each hour of a series, for people who look at it later.

CREATE TABLE expected (
    service TEXT    NOT NULL,
    region  TEXT    NOT NULL,
    at      INTEGER NOT NULL, -- the hour's start
    mean    REAL    NOT NULL,
    high    REAL    NOT NULL,
    PRIMARY KEY (service, region, at)
) STRICT, WITHOUT ROWID;
