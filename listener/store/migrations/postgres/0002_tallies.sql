-- How posts of a source fell into the buckets of a measure on a UTC day, as one model saw them: what drift is read from.

CREATE TABLE tallies (
    day     text COLLATE "C" NOT NULL,
    source  text COLLATE "C" NOT NULL,
    model   text COLLATE "C" NOT NULL, -- digest
    measure text COLLATE "C" NOT NULL,
    bucket  text COLLATE "C" NOT NULL,
    count   bigint           NOT NULL,
    PRIMARY KEY (day, source, model, measure, bucket)
) WITH (fillfactor = 50);
