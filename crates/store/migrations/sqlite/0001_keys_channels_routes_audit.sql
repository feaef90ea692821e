-- Times are Unix seconds. Lists and definitions are JSON texts.
CREATE TABLE opm_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO opm_revision (id, value) VALUES (1, 1);

-- Ids of the pepper and the master key that the store is used with; the secrets themselves lie elsewhere.
CREATE TABLE opm_bindings (
    secret TEXT PRIMARY KEY,
    secret_id TEXT NOT NULL
) STRICT;

CREATE TABLE opm_client_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    mac BLOB NOT NULL,
    hint TEXT NOT NULL,
    channels TEXT,
    models TEXT NOT NULL,
    ip_ranges TEXT NOT NULL,
    limits TEXT,
    budget TEXT,
    expires_at INTEGER,
    enabled INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    rotated_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER
) STRICT;
CREATE UNIQUE INDEX opm_client_keys_live_name ON opm_client_keys (name) WHERE revoked_at IS NULL;

CREATE TABLE opm_channels (
    name TEXT PRIMARY KEY,
    definition TEXT NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE opm_provider_keys (
    channel TEXT NOT NULL REFERENCES opm_channels (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    master_id TEXT NOT NULL,
    nonce BLOB NOT NULL,
    ciphertext BLOB NOT NULL,
    hint TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (channel, position)
) STRICT;

-- States of the config file's channels too, so no reference to opm_channels.
CREATE TABLE opm_channel_states (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL
) STRICT;

CREATE TABLE opm_routes (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    definition TEXT NOT NULL
) STRICT;

CREATE TABLE opm_audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
