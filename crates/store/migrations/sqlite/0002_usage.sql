-- One row per attempt. Empty texts stand for "none", so that they can be part of a key.
CREATE TABLE opm_usage (
    request_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    model TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    channel TEXT NOT NULL,
    format TEXT NOT NULL,
    status INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cached_input INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost_pico_usd INTEGER,
    estimated INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    ttft_ms INTEGER,
    total_ms INTEGER NOT NULL,
    PRIMARY KEY (request_id, attempt)
) STRICT;
CREATE INDEX opm_usage_at ON opm_usage (at_ms);

-- Sums by minute (width 60) and by hour (width 3600); `start` in Unix seconds. All questions about usage are answered from here.
CREATE TABLE opm_usage_sums (
    width INTEGER NOT NULL,
    start INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    model TEXT NOT NULL,
    channel TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cached_input INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    cost_pico_usd INTEGER NOT NULL,
    ttft_ms INTEGER NOT NULL,
    ttft_count INTEGER NOT NULL,
    total_ms INTEGER NOT NULL,
    PRIMARY KEY (width, start, key_id, user_name, model, channel)
) STRICT;

CREATE TABLE opm_budgets (
    subject TEXT NOT NULL,
    period_start INTEGER NOT NULL,
    spent_pico_usd INTEGER NOT NULL,
    PRIMARY KEY (subject, period_start)
) STRICT;
