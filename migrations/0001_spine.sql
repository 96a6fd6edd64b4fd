-- One row that says what every isolate must be at. An isolate re-reads it at least every 5 s.
CREATE TABLE control (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    config_version INTEGER NOT NULL,
    keys_generation INTEGER NOT NULL,
    -- Every intent with a smaller number has its outcome.
    reconciled_to INTEGER NOT NULL
);

INSERT INTO control (id, config_version, keys_generation, reconciled_to) VALUES (1, 0, 0, 0);

-- Every configuration ever applied. `document` is the document as JSON, `source` as it was written,
-- `resolution` the ids its names stood for at the time.
CREATE TABLE config_versions (
    version INTEGER PRIMARY KEY,
    document TEXT NOT NULL,
    source TEXT NOT NULL,
    format TEXT NOT NULL,
    resolution TEXT NOT NULL,
    applied_at INTEGER NOT NULL,
    applied_by TEXT NOT NULL
);

-- API keys. The secret is not here: `digest` is the peppered SHA-256 of the whole key, in hex.
-- Times are Unix milliseconds.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    principal TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    note TEXT,
    legacy INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX api_keys_by_principal ON api_keys (principal);

-- Audit. `id` is the time-ordered number of the entry, the same in the first three tables.
-- Rows are never changed and never deleted by a call.

-- What a write was about to do, written before it is sent.
CREATE TABLE audit_intents (
    id INTEGER PRIMARY KEY,
    principal TEXT NOT NULL,
    credential TEXT NOT NULL,
    source_ip TEXT,
    operation TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    zone TEXT,
    resources TEXT NOT NULL,
    grant_name TEXT,
    reason TEXT NOT NULL,
    action TEXT NOT NULL,
    deprecated INTEGER NOT NULL,
    read_back TEXT
);

-- How it ended, as far as the call itself could tell: confirmed, refused, throttled or unknown.
CREATE TABLE audit_outcomes (
    id INTEGER PRIMARY KEY,
    outcome TEXT NOT NULL,
    status INTEGER,
    cf_ray TEXT,
    duration_ms INTEGER NOT NULL,
    upstream_calls INTEGER NOT NULL,
    detail TEXT
);

-- Costs a row only where the outcome is unknown.
CREATE INDEX audit_outcomes_unknown ON audit_outcomes (id) WHERE outcome = 'unknown';

-- What became of an unknown outcome, found out later by reading back: at most one row an intent.
CREATE TABLE audit_settlements (
    id INTEGER PRIMARY KEY,
    settled_at INTEGER NOT NULL,
    happened INTEGER NOT NULL,
    detail TEXT NOT NULL
);

-- Everything that is complete in one row: reads, refusals, and changes of Zonekeeper's own state,
-- which are written in the same transaction as the change.
CREATE TABLE audit_events (
    id INTEGER PRIMARY KEY,
    principal TEXT,
    credential TEXT NOT NULL,
    source_ip TEXT,
    operation TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    zone TEXT,
    resources TEXT NOT NULL,
    decision TEXT NOT NULL,
    grant_name TEXT,
    reason TEXT NOT NULL,
    action TEXT NOT NULL,
    deprecated INTEGER NOT NULL,
    status INTEGER NOT NULL,
    outcome TEXT,
    cf_ray TEXT,
    duration_ms INTEGER NOT NULL,
    upstream_calls INTEGER NOT NULL
);
