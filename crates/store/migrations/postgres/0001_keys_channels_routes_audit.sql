-- Times are Unix seconds. Lists and definitions are JSON texts.
CREATE TABLE opm_revision (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    value BIGINT NOT NULL
);
INSERT INTO opm_revision (id, value) VALUES (1, 1);

-- Ids of the pepper and the master key that the store is used with; the secrets themselves lie elsewhere.
CREATE TABLE opm_bindings (
    secret TEXT PRIMARY KEY,
    secret_id TEXT NOT NULL
);

CREATE TABLE opm_client_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    mac BYTEA NOT NULL,
    hint TEXT NOT NULL,
    channels TEXT,
    models TEXT NOT NULL,
    ip_ranges TEXT NOT NULL,
    limits TEXT,
    budget TEXT,
    expires_at BIGINT,
    enabled BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    rotated_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT
);
CREATE UNIQUE INDEX opm_client_keys_live_name ON opm_client_keys (name) WHERE revoked_at IS NULL;

CREATE TABLE opm_channels (
    name TEXT PRIMARY KEY,
    definition TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE opm_provider_keys (
    channel TEXT NOT NULL REFERENCES opm_channels (name) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    master_id TEXT NOT NULL,
    nonce BYTEA NOT NULL,
    ciphertext BYTEA NOT NULL,
    hint TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (channel, position)
);

-- States of the config file's channels too, so no reference to opm_channels.
CREATE TABLE opm_channel_states (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL
);

CREATE TABLE opm_routes (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    definition TEXT NOT NULL
);

CREATE TABLE opm_audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL
);
