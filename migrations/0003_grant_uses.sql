-- How often grants were used that say how often they may be. `counted` is what: every call for ever
-- (bucket 0), calls by the second, deletions by the minute. A bucket is that second or minute of Unix
-- time. Rows beyond their window are dropped at the next use.
CREATE TABLE grant_uses (
    grant_name TEXT NOT NULL,
    counted TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (grant_name, counted, bucket)
) WITHOUT ROWID;
