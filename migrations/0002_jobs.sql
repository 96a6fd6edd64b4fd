-- Which run an audit entry is a part of.
ALTER TABLE audit_intents ADD COLUMN run_id TEXT;
ALTER TABLE audit_events ADD COLUMN run_id TEXT;

-- What the scheduler has done. `ticked_at` is the scheduled time of its newest tick: every firing up
-- to it was decided. `config_version` is the configuration whose jobs `jobs` holds.
CREATE TABLE scheduler (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ticked_at INTEGER NOT NULL,
    config_version INTEGER NOT NULL
);

INSERT INTO scheduler (id, ticked_at, config_version) VALUES (1, 0, 0);

-- A job of the configuration. Firings of its schedule count from after `since` on.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    schedule TEXT NOT NULL,
    since INTEGER NOT NULL,
    paused_at INTEGER,
    paused_by TEXT,
    -- Firings that got no run of their own because ticks were missing, and the newest such firing.
    missed INTEGER NOT NULL,
    missed_at INTEGER
) WITHOUT ROWID;

-- A run. Whoever works on it holds it until `lease_until` and has raised `fence`.
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    kind TEXT NOT NULL,
    trigger TEXT NOT NULL,
    slot INTEGER,
    run_as TEXT NOT NULL,
    started_by TEXT,
    dry_run INTEGER NOT NULL,
    state TEXT NOT NULL,
    stage TEXT NOT NULL,
    reason TEXT,
    basis TEXT,
    result TEXT,
    fence INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    replans INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    done INTEGER NOT NULL,
    total INTEGER NOT NULL,
    limits TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    wake_at INTEGER NOT NULL,
    lease_until INTEGER,
    -- When its id was last sent to the queue.
    enqueued_at INTEGER NOT NULL,
    -- When it may be deleted.
    expires_at INTEGER
) WITHOUT ROWID;

-- One run for each scheduled instant of a job, however often that instant is seen.
CREATE UNIQUE INDEX runs_by_slot ON runs (job, slot) WHERE slot IS NOT NULL;
CREATE INDEX runs_open ON runs (job, created_at) WHERE finished_at IS NULL;
CREATE INDEX runs_by_job ON runs (job, created_at);
CREATE INDEX runs_by_age ON runs (created_at);
CREATE INDEX runs_by_expiry ON runs (expires_at) WHERE expires_at IS NOT NULL;

-- What is large and never changes: the parameters of a run.
CREATE TABLE run_params (
    run TEXT PRIMARY KEY,
    params TEXT NOT NULL
) WITHOUT ROWID;

-- The steps of a run's plans, and where each stands. `plan` counts the plans of the run from 0 on.
CREATE TABLE run_steps (
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    plan INTEGER NOT NULL,
    stage TEXT NOT NULL,
    state TEXT NOT NULL,
    items INTEGER NOT NULL,
    summary TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    entry INTEGER,
    detail TEXT,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;

-- What each step does, exactly: a call, or (without a method) work of the kind's own.
CREATE TABLE run_work (
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    method TEXT,
    target TEXT NOT NULL,
    body TEXT,
    bucket TEXT,
    cost INTEGER NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;

CREATE TABLE run_events (
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;

-- A caller's `Idempotency-Key`, the digest of what came with it, and the run it started.
CREATE TABLE idempotency_keys (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    run TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;

-- Upstream buckets besides the general one. `full_at` is when the bucket is full again, in Unix
-- microseconds. Before `blocked_until` (Unix milliseconds) nothing may be drawn.
CREATE TABLE buckets (
    name TEXT PRIMARY KEY,
    full_at INTEGER NOT NULL,
    blocked_until INTEGER NOT NULL
) WITHOUT ROWID;

-- A snapshot of a zone's records. Its content is in KV under `snapshots/{id}/{n}`, n below `chunks`,
-- `digest` is the SHA-256 of all of it, in hex.
CREATE TABLE snapshots (
    id TEXT PRIMARY KEY,
    zone TEXT NOT NULL,
    zone_name TEXT NOT NULL,
    job TEXT NOT NULL,
    run TEXT NOT NULL,
    run_as TEXT NOT NULL,
    taken_at INTEGER NOT NULL,
    records INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    digest TEXT NOT NULL,
    -- Given up. Its content may be there still.
    deleted_at INTEGER
) WITHOUT ROWID;

CREATE INDEX snapshots_by_zone ON snapshots (zone, taken_at);
