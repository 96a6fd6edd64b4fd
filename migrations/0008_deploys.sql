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
