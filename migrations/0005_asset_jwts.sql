-- A token Cloudflare gave a caller for the files of one upload: whose it is and what it is for. Only
-- its hash is kept, for as long as Cloudflare accepts it.
CREATE TABLE asset_jwts (
    hash TEXT PRIMARY KEY,
    principal TEXT NOT NULL,
    key_id TEXT NOT NULL,
    account TEXT NOT NULL,
    -- The Worker whose upload it is, or nothing for a Pages project.
    script TEXT,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
