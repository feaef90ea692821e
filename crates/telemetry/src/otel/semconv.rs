//! Names of the OpenTelemetry conventions for generative AI, as they stand in
//! <https://github.com/open-telemetry/semantic-conventions-genai> (status: development), and names of our own under `opm.`.

pub(super) const OPERATION: &str = "gen_ai.operation.name";
pub(super) const PROVIDER: &str = "gen_ai.provider.name";
pub(super) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(super) const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub(super) const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
pub(super) const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
pub(super) const REQUEST_TOP_P: &str = "gen_ai.request.top_p";
pub(super) const REQUEST_TOP_K: &str = "gen_ai.request.top_k";
pub(super) const REQUEST_FREQUENCY_PENALTY: &str = "gen_ai.request.frequency_penalty";
pub(super) const REQUEST_PRESENCE_PENALTY: &str = "gen_ai.request.presence_penalty";
pub(super) const REQUEST_SEED: &str = "gen_ai.request.seed";
pub(super) const REQUEST_CHOICES: &str = "gen_ai.request.choice.count";
pub(super) const REQUEST_STOPS: &str = "gen_ai.request.stop_sequences";
pub(super) const CONVERSATION: &str = "gen_ai.conversation.id";
pub(super) const OPENAI_REQUEST_TIER: &str = "openai.request.service_tier";
pub(super) const OPENAI_RESPONSE_TIER: &str = "openai.response.service_tier";
pub(super) const RESPONSE_ID: &str = "gen_ai.response.id";
pub(super) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(super) const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
pub(super) const TIME_TO_FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
pub(super) const TOKEN_TYPE: &str = "gen_ai.token.type";
pub(super) const OPENAI_API: &str = "openai.api.type";
pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";
pub(super) const HTTP_STATUS: &str = "http.response.status_code";

pub(super) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(super) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(super) const CACHE_READ_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub(super) const CACHE_CREATION_TOKENS: &str = "gen_ai.usage.cache_creation.input_tokens";
pub(super) const REASONING_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
pub(super) const TEXT_INPUT_TOKENS: &str = "gen_ai.usage.text.input_tokens";
pub(super) const AUDIO_INPUT_TOKENS: &str = "gen_ai.usage.audio.input_tokens";
pub(super) const IMAGE_INPUT_TOKENS: &str = "gen_ai.usage.image.input_tokens";
pub(super) const TEXT_OUTPUT_TOKENS: &str = "gen_ai.usage.text.output_tokens";
pub(super) const AUDIO_OUTPUT_TOKENS: &str = "gen_ai.usage.audio.output_tokens";

pub(super) const REQUEST_ID: &str = "opm.request.id";
pub(super) const CLIENT_FORMAT: &str = "opm.client.format";
pub(super) const API: &str = "opm.api";
pub(super) const KEY_NAME: &str = "opm.key.name";
pub(super) const COST: &str = "opm.cost_usd";
pub(super) const ATTEMPTS: &str = "opm.attempts";
pub(super) const CHANNEL: &str = "opm.channel";
pub(super) const OUTCOME: &str = "opm.outcome";
pub(super) const UPSTREAM_MODEL: &str = "opm.upstream.model";
pub(super) const UPSTREAM_FORMAT: &str = "opm.upstream.format";

pub(super) const OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
pub(super) const TOKEN_USAGE: &str = "gen_ai.client.token.usage";
pub(super) const OPERATION_FIRST_CHUNK: &str = "gen_ai.client.operation.time_to_first_chunk";
pub(super) const TIME_PER_OUTPUT_TOKEN: &str = "gen_ai.server.time_per_output_token";

/// Buckets of operations and first chunks, seconds.
pub(super) const SECONDS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
/// Buckets of the time per token, seconds.
pub(super) const SECONDS_PER_TOKEN: [f64; 13] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];
/// Buckets of tokens: powers of four.
pub(super) const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
