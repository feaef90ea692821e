//! `opm channels …`, `opm reload`, `opm explain`: what asks the running gateway.

use clap::{Args, Subcommand, ValueEnum};

use super::{Output, Scope};

/// Asks the running gateway, through its admin API.
#[derive(Debug, Subcommand)]
pub(crate) enum Channels {
    /// List the channels with their live state
    #[command(
        after_help = "Examples:\n  opm channels list\n  opm channels list -c /etc/opm/opm.yaml\n  opm channels list --format json"
    )]
    List(Scope),
    /// Send a small request to a channel; exit code 3 if it is not well
    Test(Test),
    /// Let a channel finish what it has; it gets nothing new until it is enabled
    #[command(
        after_help = "Examples:\n  opm channels drain openai\n  opm channels drain openai -c opm.yaml\n  opm channels drain openai --format json"
    )]
    Drain(Switch),
    /// Let a channel take requests
    #[command(
        after_help = "Examples:\n  opm channels enable openai\n  opm channels enable openai -c opm.yaml\n  opm channels enable openai --format json"
    )]
    Enable(Switch),
    /// Let a channel take no requests
    #[command(
        after_help = "Examples:\n  opm channels disable openai\n  opm channels disable openai -c opm.yaml\n  opm channels disable openai --format json"
    )]
    Disable(Switch),
}

/// Which channel is tested.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  opm channels test openai\n  opm channels test openai --model gpt-5.6-luna\n  opm channels test openai -c opm.yaml --format json"
)]
pub(crate) struct Test {
    /// Name of the channel
    pub(crate) name: String,
    /// Model to ask for [default: one that the channel names]
    #[arg(long)]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// Which channel is switched.
#[derive(Clone, Debug, Args)]
pub(crate) struct Switch {
    /// Name of the channel
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// Which request is explained.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  opm explain --model gpt-5.6-luna\n  opm explain --model claude-x --key team-a --format messages --header x-tier=gold\n  opm explain --request req_4fK2m9QzWcT81bXyLq0aVd3E --format json"
)]
pub(crate) struct Explain {
    /// Public model name of a request that might come
    #[arg(long, required_unless_present = "request")]
    pub(crate) model: Option<String>,
    /// Id or name of the client key it would come with
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<String>,
    /// Header it would come with, as NAME=VALUE; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE")]
    pub(crate) headers: Vec<String>,
    /// Id of a request that came, as in the header x-request-id of its answer
    #[arg(long, value_name = "ID", conflicts_with_all = ["model", "key", "headers"])]
    pub(crate) request: Option<String>,
    /// The client's format [default: chat], or the output format [default: text]; may be given for both
    #[arg(long, value_enum)]
    pub(crate) format: Vec<Word>,
    /// Configuration file [default: as `opm serve` finds it]
    #[arg(short, long)]
    pub(crate) config: Option<std::path::PathBuf>,
}

/// A format of a client, or of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Word {
    /// OpenAI Chat Completions
    Chat,
    /// OpenAI Responses
    Responses,
    /// Anthropic Messages
    Messages,
    /// Gemini generateContent
    Gemini,
    /// Output for people
    Text,
    /// Output for programs
    Json,
}

impl Explain {
    /// The client's format.
    pub(crate) fn client(&self) -> Option<&'static str> {
        self.format.iter().find_map(|word| match word {
            Word::Chat => Some("chat"),
            Word::Responses => Some("responses"),
            Word::Messages => Some("messages"),
            Word::Gemini => Some("gemini"),
            Word::Text | Word::Json => None,
        })
    }

    /// The output format.
    pub(crate) fn output(&self) -> Output {
        if self.format.contains(&Word::Json) {
            Output::Json
        } else {
            Output::Text
        }
    }
}
