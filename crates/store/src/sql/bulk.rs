//! Many rows in one statement of SQLite, with bound values. Its JSON functions read a list again for every member: measured with rows of
//! usage, they cost ten times as much. Postgres takes a JSON list instead, which spares it round trips.

use std::sync::OnceLock;

use super::session::{Change, Value};
use crate::error::StoreError;

/// Rows of one statement: large groups first, the rest in smaller ones, so that few texts serve every number of rows.
const GROUPS: [usize; 4] = [128, 16, 4, 1];

/// An `INSERT` of rows with so many columns. The first of them have one value for all rows of a call, which is bound once.
pub(super) struct Bulk {
    /// Up to and including `VALUES`.
    head: &'static str,
    common: usize,
    /// The others.
    columns: usize,
    /// What follows the rows.
    rest: &'static str,
    texts: [OnceLock<&'static str>; GROUPS.len()],
}

impl Bulk {
    /// Rows of the largest statement.
    pub(super) const MOST: usize = GROUPS[0];

    pub(super) const fn new(head: &'static str, common: usize, columns: usize, rest: &'static str) -> Self {
        Bulk {
            head,
            common,
            columns,
            rest,
            texts: [const { OnceLock::new() }; GROUPS.len()],
        }
    }

    /// How many values of their own so many rows have.
    pub(super) fn values_of(&self, rows: usize) -> usize {
        rows * self.columns
    }

    /// Inserts rows, their values one after the other; tells how many were touched.
    pub(super) async fn insert(
        &self,
        change: &mut Change,
        common: &[Value<'_>],
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        let (mut touched, mut rest) = (0, values);
        for (kept, rows) in self.texts.iter().zip(GROUPS) {
            let size = rows * self.columns;
            while let Some((group, later)) = rest.split_at_checked(size) {
                let sql = self.text(kept, rows);
                touched += change.insert(sql, group, common).await?;
                rest = later;
            }
        }
        Ok(touched)
    }

    /// Made of constants and kept for the life of the process, so it is as constant as they are.
    fn text(&self, kept: &OnceLock<&'static str>, rows: usize) -> &'static str {
        kept.get_or_init(|| {
            // sqlx takes the values of `?` from the first one on, those of `$N` by their number.
            let own = rows * self.columns;
            let common = (1..=self.common).map(|number| format!("${}", own + number));
            let row: Vec<_> = common
                .chain(std::iter::repeat_n("?".to_owned(), self.columns))
                .collect();
            let row = format!("({})", row.join(","));
            let text = format!("{} {} {}", self.head, vec![row; rows].join(","), self.rest);
            Box::leak(text.into_boxed_str())
        })
    }
}
