-- What a key was issued for, where that was a token of an OIDC issuer: a digest of the rule that made the
-- token a principal's, and who stood behind it, in words.
ALTER TABLE api_keys ADD COLUMN rule TEXT;
ALTER TABLE api_keys ADD COLUMN behind TEXT;

CREATE INDEX api_keys_of_tokens ON api_keys (expires_at) WHERE rule IS NOT NULL;

-- Tokens that were exchanged, each of which counts once. A row is kept until nobody accepts the token
-- any more.
CREATE TABLE oidc_jtis (
    issuer TEXT NOT NULL,
    jti TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, jti)
) WITHOUT ROWID;

CREATE INDEX oidc_jtis_by_expiry ON oidc_jtis (expires_at);
