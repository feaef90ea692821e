-- Gateways of the former version may still write: for them there are defaults, and `estimated` stays, which `source` says better.
ALTER TABLE opm_usage ADD COLUMN started_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE opm_usage ADD COLUMN upstream_format TEXT NOT NULL DEFAULT '';
ALTER TABLE opm_usage ADD COLUMN billed TEXT NOT NULL DEFAULT 'no';
ALTER TABLE opm_usage ADD COLUMN source TEXT NOT NULL DEFAULT 'reported';
UPDATE opm_usage SET
    started_ms = at_ms - total_ms,
    billed = CASE WHEN estimated <> 0 THEN 'estimated' WHEN input + output > 0 THEN 'yes' ELSE 'no' END,
    source = CASE WHEN estimated <> 0 THEN 'estimated' ELSE 'reported' END;

-- Pages of requests by filter. `opm_usage_at` serves the others: the newest rows soon have enough of one model or channel, users come in
-- any order, and every index is paid for by every request. The conditions stand in sql/request.rs too.
CREATE INDEX opm_usage_key ON opm_usage (key_id, at_ms);
CREATE INDEX opm_usage_outcome ON opm_usage (outcome, at_ms) WHERE outcome <> 'answered';
CREATE INDEX opm_usage_status ON opm_usage (at_ms) WHERE status >= 400;
