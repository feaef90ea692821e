-- Tokens that limits count of an attempt beyond what it says it used. Gateways of the former version write none.
ALTER TABLE opm_usage ADD COLUMN held BIGINT NOT NULL DEFAULT 0;

-- Sums do not have them: a start that reads sums adds these rows. The condition stands in sql/used.rs too.
CREATE INDEX opm_usage_held ON opm_usage (at_ms) WHERE held > 0;
