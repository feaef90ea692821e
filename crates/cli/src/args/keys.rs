//! `opm keys …`.

use clap::{Args, Subcommand};

use super::Scope;

/// Works on the store of the configuration, also while a gateway runs on it: that follows within two seconds.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a client key and show it, this once
    Create(Create),
    /// List the client keys of the store
    #[command(
        after_help = "Examples:\n  opm keys list\n  opm keys list -c /etc/opm/opm.yaml\n  opm keys list --format json"
    )]
    List(Scope),
    /// Show one client key, without the key
    #[command(
        after_help = "Examples:\n  opm keys show team-a\n  opm keys show 4fK2m9Qz -c opm.yaml\n  opm keys show 4fK2m9Qz --format json"
    )]
    Show(One),
    /// Change the limits of a client key
    Update(Update),
    /// Revoke a client key for good
    #[command(
        after_help = "Examples:\n  opm keys revoke 4fK2m9Qz\n  opm keys revoke team-a -c opm.yaml\n  opm keys revoke 4fK2m9Qz --format json"
    )]
    Revoke(One),
    /// Give a client key another secret and show it, this once; the former one ends at once
    #[command(
        after_help = "Examples:\n  opm keys rotate 4fK2m9Qz\n  opm keys rotate team-a -c opm.yaml\n  opm keys rotate 4fK2m9Qz --format json"
    )]
    Rotate(One),
    /// Print the hash of a key of your own, read from standard input, for `keys:` in the config file
    Hash(Hash),
}

/// The key that is to be made.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  opm keys create --name team-a\n  opm keys create --name ci --channel openai --model 'gpt-*' --expires 2027-06-30\n  opm keys create --name app --tpm 200k --window 60m --rpm 600 --budget 50/month\n  opm keys create --name office --network 10.0.0.0/8 -c opm.yaml --format json"
)]
pub(crate) struct Create {
    /// Who uses it; unique among keys that are not revoked
    #[arg(long)]
    pub(crate) name: String,
    /// Channel it may use; may be repeated [default: all]
    #[arg(long = "channel", value_name = "NAME")]
    pub(crate) channels: Vec<String>,
    /// Model it may ask for, a name or a glob; may be repeated [default: all]
    #[arg(long = "model", value_name = "GLOB")]
    pub(crate) models: Vec<String>,
    /// Network it may be used from; may be repeated [default: all]
    #[arg(long = "network", value_name = "CIDR")]
    pub(crate) networks: Vec<String>,
    /// From when on it is refused: 2027-06-30 or 2027-06-30T12:00:00Z [default: never]
    #[arg(long, value_name = "DATE")]
    pub(crate) expires: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// What may be used with a key.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitFlags {
    /// Tokens, input and output, in any window: 200k, 2M
    #[arg(long, value_name = "TOKENS")]
    pub(crate) tpm: Option<String>,
    /// The window of --tpm, 1s to 31d [default: 1m]
    #[arg(long, value_name = "DURATION")]
    pub(crate) window: Option<String>,
    /// Requests in any minute
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) rpm: Option<String>,
    /// Requests at the same time
    #[arg(long, value_name = "REQUESTS")]
    pub(crate) concurrent: Option<String>,
    /// US dollars per day or month: 50/month; may be repeated
    #[arg(long, value_name = "USD/PERIOD")]
    pub(crate) budget: Vec<String>,
    /// Time zone whose midnights count for --budget [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "budget")]
    pub(crate) budget_tz: Option<String>,
}

impl LimitFlags {
    /// True if something beside budgets is named.
    pub(crate) fn names_limits(&self) -> bool {
        let flags = [&self.tpm, &self.window, &self.rpm, &self.concurrent];
        flags.into_iter().any(Option::is_some)
    }
}

/// What is to be changed of a key.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  opm keys update team-a --rpm 900\n  opm keys update team-a --budget 80/month --budget-tz Asia/Shanghai -c opm.yaml\n  opm keys update 4fK2m9Qz --no-budget --tpm 1M --window 60m --format json"
)]
pub(crate) struct Update {
    /// Id or name of the key
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    /// Forget the limits it has; flags given beside it count
    #[arg(long, help_heading = "Limits")]
    pub(crate) no_limits: bool,
    /// Forget the budgets it has; --budget given beside it counts
    #[arg(long, help_heading = "Limits")]
    pub(crate) no_budget: bool,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// Which key is meant.
#[derive(Clone, Debug, Args)]
pub(crate) struct One {
    /// Id or name of the key
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// How the hash is printed.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  opm keys hash < key.txt\n  openssl rand -hex 32 | tee key.txt | opm keys hash\n  opm keys hash --format json < key.txt"
)]
pub(crate) struct Hash {
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: super::Output,
}
