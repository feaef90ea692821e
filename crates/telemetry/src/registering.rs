//! Registration: name, kind and words of a metric come from the table.

use prometheus_client::registry::{Metric, Registry};

use crate::table::metric_named;

/// A registry in the making.
#[derive(Default)]
pub(crate) struct Registering(pub(crate) Registry);

impl Registering {
    /// Registers a metric of the table.
    pub(crate) fn add<M: Metric + Clone>(&mut self, name: &'static str, metric: M) -> M {
        // The registry writes the last dot and, for counters, `_total` by itself.
        let help = metric_named(name).map_or("", |row| row.help.trim_end_matches('.'));
        let short = name.strip_suffix("_total").unwrap_or(name);
        self.0.register(short, help, metric.clone());
        metric
    }
}
