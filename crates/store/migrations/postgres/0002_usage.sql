-- One row per attempt. Empty texts stand for "none", so that they can be part of a key.
CREATE TABLE opm_usage (
    request_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    channel TEXT NOT NULL,
    format TEXT NOT NULL,
    status BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cached_input BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    cost_pico_usd BIGINT,
    estimated BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    ttft_ms BIGINT,
    total_ms BIGINT NOT NULL,
    PRIMARY KEY (request_id, attempt)
);
CREATE INDEX opm_usage_at ON opm_usage (at_ms);

-- Sums by minute (width 60) and by hour (width 3600); `start` in Unix seconds. All questions about usage are answered from here.
CREATE TABLE opm_usage_sums (
    width BIGINT NOT NULL,
    start BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    model TEXT NOT NULL,
    channel TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    unpriced BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cached_input BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    cost_pico_usd BIGINT NOT NULL,
    ttft_ms BIGINT NOT NULL,
    ttft_count BIGINT NOT NULL,
    total_ms BIGINT NOT NULL,
    PRIMARY KEY (width, start, key_id, user_name, model, channel)
);

CREATE TABLE opm_budgets (
    subject TEXT NOT NULL,
    period_start BIGINT NOT NULL,
    spent_pico_usd BIGINT NOT NULL,
    PRIMARY KEY (subject, period_start)
);
