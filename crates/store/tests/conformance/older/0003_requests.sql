INSERT INTO opm_usage (request_id, attempt, started_ms, at_ms, key_id, user_name, model, upstream_model, channel, format,
    upstream_format, status, input, output, cached_input, cache_write, reasoning, cost_pico_usd, billed, source, estimated, outcome,
    ttft_ms, total_ms)
VALUES ('req_3', 1, 2000, 2005, 'id000001', '', 'gpt-5', 'gpt-5', 'openai', 'chat', 'chat', 200, 1, 2, 0, 0, 0, NULL, 'yes',
    'partial', 1, 'crashed', NULL, 5);
