-- Where the body of a step is a form kept as a blob: its key.
ALTER TABLE run_work ADD COLUMN blob TEXT;

-- Whether somebody wants what is left of a run's waits left out.
ALTER TABLE runs ADD COLUMN hurry INTEGER NOT NULL DEFAULT 0;

-- A Worker that a run deploys, or did until it ended in a way that a person must look at: no other run
-- deploys it meanwhile. Counts only while that run is open or unknown, so that none is left behind.
CREATE TABLE script_locks (
    account TEXT NOT NULL,
    script TEXT NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (account, script)
) WITHOUT ROWID;

-- Since when a notification tells of the ends of runs.
CREATE TABLE notification_starts (
    name TEXT PRIMARY KEY,
    since INTEGER NOT NULL
) WITHOUT ROWID;

-- An end of a run that somebody was told of, or is to be told of again at `next_at`.
CREATE TABLE notices (
    notification TEXT NOT NULL,
    run TEXT NOT NULL,
    fence INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    done_at INTEGER,
    detail TEXT,
    PRIMARY KEY (run, notification, fence)
) WITHOUT ROWID;

CREATE INDEX runs_by_end ON runs (finished_at) WHERE finished_at IS NOT NULL;
