//! What may be used with a client key, as it is asked for and kept.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::KeyError;

/// Bytes of `limits` and of `budget`.
const LARGEST: usize = 4096;

/// A JSON value that is kept as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

impl JsonText {
    /// What the store holds. A text that is no JSON becomes a string of it: it must not look like no limit at all.
    pub(super) fn stored(text: &str) -> Option<Self> {
        let read = RawValue::from_string(text.trim().to_owned());
        let read = read.or_else(|_| serde_json::value::to_raw_value(text));
        read.ok().map(JsonText)
    }

    /// The text of a value.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn new(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(value).map(JsonText)
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for JsonText {}

/// Are these limits, and is this a budget?
pub(super) fn check(limits: Option<&JsonText>, budget: Option<&JsonText>) -> Result<(), KeyError> {
    let too_long = |text: &JsonText| text.get().len() > LARGEST;
    for (member, text) in [("limits", limits), ("budget", budget)] {
        if text.is_some_and(too_long) {
            return Err(KeyError::Member {
                member,
                why: "it is longer than 4 KiB".into(),
                help: "leave the white space out".into(),
            });
        }
    }
    let read = opm_config::stored_limits(limits.map(JsonText::get), budget.map(JsonText::get));
    read.map(|_| ()).map_err(KeyError::Limits)
}

/// What may be used; what is left out is not limited.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LimitsDefinition {
    /// Tokens, input and output, in any trailing window.
    pub tpm: Option<Count>,
    /// The window of `tpm`, from `1s` to `31d`; absent: `1m`.
    pub window: Option<String>,
    /// Requests in any trailing minute.
    pub rpm: Option<Count>,
    /// Requests at the same time.
    pub concurrent: Option<Count>,
    /// `strict` (the default): an upper bound is reserved, never exceeded; `estimate`: the likely cost.
    pub mode: Option<String>,
    /// While the shared store does not answer: `local`, `deny` or `allow`; absent: as the config file says.
    pub on_failure: Option<String>,
}

/// A whole number from 1 to 9007199254740991, plain or with a suffix: `600`, `"200k"`, `"2M"`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Count {
    /// Plain.
    Number(u64),
    /// With a suffix: `k`, `M` or `G`.
    Text(String),
}

/// Money by calendar period; a list has one budget for each period and time zone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum BudgetsDefinition {
    /// One budget.
    One(BudgetDefinition),
    /// Several budgets.
    List(Vec<BudgetDefinition>),
}

/// Money that may be used in a day or month.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BudgetDefinition {
    /// US dollars, from 0.000001 to 9007199.
    pub usd: Amount,
    /// `day` or `month`.
    pub per: String,
    /// IANA name of the time zone whose midnights count; absent: `UTC`.
    pub tz: Option<String>,
    /// Percentages whose crossing is reported; absent: `80%` and `100%`.
    pub at: Option<Vec<String>>,
    /// `block` (the default) refuses requests when it is used up, `warn` only reports.
    pub action: Option<String>,
    /// `strict` (the default): an upper bound is reserved, never exceeded; `estimate`: the likely cost.
    pub mode: Option<String>,
    /// While the shared store does not answer: `local`, `deny` or `allow`; absent: `deny`, or `allow` if it only warns.
    pub on_failure: Option<String>,
}

/// An amount with up to 12 decimals, read exactly as it is written: `50`, `50.25` or `"50.25"`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Amount {
    /// A number.
    Number(f64),
    /// Its text.
    Text(String),
}
