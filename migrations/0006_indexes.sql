-- Databases of earlier versions may have the first two already.
CREATE INDEX IF NOT EXISTS idempotency_keys_by_run ON idempotency_keys (run);
CREATE INDEX IF NOT EXISTS snapshots_given_up ON snapshots (job, deleted_at) WHERE deleted_at IS NOT NULL;

CREATE INDEX IF NOT EXISTS asset_jwts_by_expiry ON asset_jwts (expires_at);
