INSERT INTO opm_usage (request_id, attempt, at_ms, key_id, user_name, model, upstream_model, channel, format, status, input, output,
    cached_input, cache_write, reasoning, cost_pico_usd, estimated, outcome, ttft_ms, total_ms)
VALUES ('req_old', 0, 1000, 'id000001', '', 'gpt-5', 'gpt-5', 'openai', 'chat', 200, 1, 2, 0, 0, 0, NULL, 0, 'answered', NULL, 5);
