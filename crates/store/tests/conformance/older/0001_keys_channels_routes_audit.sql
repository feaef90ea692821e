UPDATE opm_revision SET value = 42;
INSERT INTO opm_client_keys (id, name, mac, hint, models, ip_ranges, enabled, created_at)
VALUES ('id000001', 'from version 1', BYTES32, 'sk-opm-…abcd', '["gpt-*"]', '[]', 1, 1000);
INSERT INTO opm_channels (name, definition, updated_at) VALUES ('openai', '{}', 1000);
INSERT INTO opm_provider_keys (channel, position, master_id, nonce, ciphertext, hint, fingerprint)
VALUES ('openai', 0, '01234567', BYTES24, BYTES32, 'sk-…abcd', '0123456789abcdef');
INSERT INTO opm_audit (at, actor, action, object, detail) VALUES (1000, 'cli', 'key.create', 'id000001', '');
