//! What can be typed.

pub(crate) mod channels;
pub(crate) mod keys;
pub(crate) mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

/// AI gateway: any client format to any upstream format.
#[derive(Debug, Parser)]
#[command(
    name = "opm",
    version,
    after_help = "Examples:\n  opm demo                       see it work, no key needed\n  OPENAI_API_KEY=… opm           serve with what is found\n  opm check -c opm.yaml          find every mistake at once"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway (the default)
    Serve(Serve),
    /// Run the gateway in front of built-in mock providers: no key, no network
    Demo(Demo),
    /// Run the mock providers alone
    Mock(Mock),
    /// Check a configuration and show every problem
    Check(Check),
    /// Convert a request, an answer or a stream between formats
    Convert(Convert),
    /// Make, list and revoke client keys
    #[command(
        subcommand,
        after_help = "Examples:\n  opm keys create --name team-a\n  opm keys list --format json\n  opm keys update team-a --rpm 600\n  opm keys revoke team-a"
    )]
    Keys(keys::Keys),
    /// List, test and switch the channels of the running gateway
    #[command(
        subcommand,
        after_help = "Examples:\n  opm channels list\n  opm channels test openai\n  opm channels drain openai"
    )]
    Channels(channels::Channels),
    /// Sum up what was used and what it cost
    Usage(usage::Usage),
    /// Look through requests: the newest ones, or all attempts of one
    #[command(
        subcommand,
        after_help = "Examples:\n  opm logs tail -f\n  opm logs tail -n 50 --status 400\n  opm logs show req_4fK2m9QzWcT81bXyLq0aVd3E"
    )]
    Logs(usage::Logs),
    /// Let the running gateway read its configuration again
    #[command(
        after_help = "Examples:\n  opm reload\n  opm reload -c /etc/opm/opm.yaml\n  opm reload --format json"
    )]
    Reload(Scope),
    /// Ask the running gateway where a request goes, or went, and why
    Explain(channels::Explain),
    /// Print the version
    Version(Version),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Output of commands that read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Which configuration, and how to answer.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Scope {
    /// Configuration file [default: as `opm serve` finds it]
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Output,
}

#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct Serve {
    /// Configuration file [default: ./opm.yaml, /etc/opm/opm.yaml, else the environment]
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    /// Take the listeners over from a running gateway
    #[arg(long)]
    pub(crate) upgrade: bool,
    /// How log lines look
    #[arg(long, value_enum, default_value_t, env = "OPM_LOG")]
    pub(crate) log: crate::logging::LogFormat,
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Demo {
    /// Where the gateway listens
    #[arg(long, default_value = "127.0.0.1:8080", env = "OPM_DEMO_LISTEN")]
    pub(crate) listen: SocketAddr,
    /// Where its metrics are
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub(crate) metrics: SocketAddr,
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Mock {
    /// Where the mock providers listen
    #[arg(long, default_value = "127.0.0.1:8090")]
    pub(crate) listen: SocketAddr,
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Check {
    /// Configuration file [default: as `opm serve` finds it]
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Output,
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Version {
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Output,
}

/// What is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// A request body
    Request,
    /// A whole answer
    Response,
    /// A stream
    Stream,
}

#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Convert {
    /// Format that comes in: chat, responses, messages, gemini
    #[arg(long)]
    pub(crate) from: ai_api_converter::Format,
    /// Format that goes out
    #[arg(long)]
    pub(crate) to: ai_api_converter::Format,
    /// What the file holds
    #[arg(long, value_enum, default_value = "request")]
    pub(crate) kind: What,
    /// Model name at the upstream
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Show on standard error what was dropped, changed or emulated
    #[arg(long)]
    pub(crate) explain: bool,
    /// File to read; standard input if absent or -
    pub(crate) file: Option<PathBuf>,
}
