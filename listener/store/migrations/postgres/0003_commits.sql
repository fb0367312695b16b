-- The last transaction of each writer that was committed, so that one whose answer got lost can be looked up. The number of
-- a transaction would not do: a server that is killed may give it to another one afterwards.

CREATE TABLE commits (
    writer text COLLATE "C" NOT NULL PRIMARY KEY,
    number bigint           NOT NULL,
    at     timestamptz      NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
