-- A delivery of a webhook that was proved to be its sender's, or its replay. Its number is that of its
-- audit entry, so they are in the order of time.
CREATE TABLE hook_deliveries (
    number INTEGER PRIMARY KEY,
    hook TEXT NOT NULL,
    -- The sender's name for it. Where it has none, the SHA-256 of the body. A replay has a random one.
    id TEXT NOT NULL,
    event TEXT,
    outcome TEXT NOT NULL,
    reason TEXT,
    run TEXT,
    replay_of TEXT,
    -- The SHA-256 of the body. A replay has none, as it has the body of another.
    digest TEXT,
    -- The body, where it is JSON. It stands last, so that lists need not read it.
    body TEXT
);

-- The same delivery, or the same body, counts once for each hook.
CREATE UNIQUE INDEX hook_deliveries_by_id ON hook_deliveries (hook, id);
CREATE UNIQUE INDEX hook_deliveries_by_body ON hook_deliveries (hook, digest) WHERE digest IS NOT NULL;
CREATE INDEX hook_deliveries_by_hook ON hook_deliveries (hook, number);
