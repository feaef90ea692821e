//! `opm logs`: requests one by one.

mod detail;
mod line;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use opm_admin::usage::{KeyNames, RequestView, RequestsQuestion, request};
use opm_store::{Page, RequestQuery, RowCursor, Store, StoreError, UsageRow};

use super::block_on;
use super::follow::Follower;
use super::usage::{filters, open};
use crate::args::Output;
use crate::args::usage::{Logs, Show, Tail};
use crate::control::unix_seconds;
use crate::sheet::{Paper, Unread};
use line::Lines;

/// How often the store is asked for what is new.
const PAUSE: Duration = Duration::from_millis(500);
/// After an error it is asked less often.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(2);

pub(super) fn run(command: &Logs) -> anyhow::Result<ExitCode> {
    match command {
        Logs::Tail(args) => block_on(tail(args))?,
        Logs::Show(args) => block_on(show(args))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &Show) -> anyhow::Result<()> {
    let opened = open(args.scope.config.as_deref()).await?;
    let found = request(&*opened.store, &args.id).await?;
    opened.store.close().await;
    let Some(found) = found else {
        bail!(
            "the store has no attempt of a request `{}`: it may still run its first one, or was forgotten; `opm logs tail` lists the newest",
            args.id
        );
    };
    let text = match args.scope.format {
        Output::Json => format!("{}\n", serde_json::to_string(&found)?),
        Output::Text => detail::readable(&found),
    };
    let _ = Paper.write(&text)?;
    Ok(())
}

async fn tail(args: &Tail) -> anyhow::Result<()> {
    let opened = open(args.config.as_deref()).await?;
    let question = RequestsQuestion {
        filters: filters(&opened, &args.whose).await?,
        outcome: args.outcome.clone(),
        status_from: args.status,
        since: args.since.clone(),
        until: args.until.clone(),
        attempts: args.attempts,
        limit: Some(args.lines.max(1)),
        ..RequestsQuestion::default()
    };
    let names = KeyNames::of(&*opened.store).await?;
    let query = question.query(&names, unix_seconds())?;
    let mut tail = Tailing {
        store: &*opened.store,
        names,
        query,
        lines: Lines::new(args.format),
    };
    let outcome = tail.run(args).await;
    opened.store.close().await;
    outcome
}

/// Rows on their way from the store to standard output.
struct Tailing<'s> {
    store: &'s dyn Store,
    names: KeyNames,
    query: RequestQuery,
    lines: Lines,
}

impl Tailing<'_> {
    async fn run(&mut self, args: &Tail) -> anyhow::Result<()> {
        let mut follower = Follower::default();
        if args.follow {
            follower.reached(self.newest_ms().await?, now_ms());
            // What ended in the last seconds is not new, shown or not. What comes while this is read is.
            self.unseen(&mut follower).await?;
        }
        let mut rows = match args.lines {
            0 => Vec::new(),
            _ => self.store.requests(&self.query).await?,
        };
        rows.reverse();
        for row in &rows {
            follower.is_new(row);
        }
        if rows.is_empty() && !args.follow {
            eprintln!("there is no such request in the store");
            return Ok(());
        }
        if self.write(rows).await?.is_err() || !args.follow {
            return Ok(());
        }
        tokio::select! {
            outcome = self.follow(follower) => outcome,
            stopped = tokio::signal::ctrl_c() => stopped.context("waiting for Ctrl-C"),
        }
    }

    /// Writes what is new until nobody reads any more, which a write alone would notice at the next row only. A store that is away for a
    /// while is waited for.
    async fn follow(&mut self, mut follower: Follower) -> anyhow::Result<()> {
        let mut failing = false;
        loop {
            tokio::time::sleep(if failing { PAUSE_AFTER_ERROR } else { PAUSE }).await;
            if Paper.is_unread() {
                return Ok(());
            }
            match self.look(&mut follower).await {
                Ok(rows) => {
                    failing = false;
                    if !rows.is_empty() && self.write(rows).await?.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    if !failing {
                        eprintln!("opm: {error}; going on when it answers again");
                    }
                    failing = true;
                }
            }
        }
    }

    /// What is new since the last look.
    async fn look(&self, follower: &mut Follower) -> Result<Vec<UsageRow>, StoreError> {
        let newest_ms = self.newest_ms().await?;
        let rows = self.unseen(follower).await?;
        follower.reached(newest_ms, now_ms());
        Ok(rows)
    }

    /// End of the newest attempt of all, whatever is asked for: so far back nothing need be read again. Zero if there is none.
    async fn newest_ms(&self) -> Result<i64, StoreError> {
        let any = RequestQuery {
            attempts: true,
            limit: 1,
            ..RequestQuery::default()
        };
        let newest = self.store.requests(&any).await?;
        Ok(newest.first().map_or(0, |row| row.at_ms))
    }

    /// Rows within the follower's reach that it has not met yet.
    async fn unseen(&self, follower: &mut Follower) -> Result<Vec<UsageRow>, StoreError> {
        let (mut place, mut unseen) = (follower.place(), Vec::new());
        loop {
            let query = RequestQuery {
                page: Page::After(place),
                limit: RequestQuery::MOST,
                ..self.query.clone()
            };
            let rows = self.store.requests(&query).await?;
            let next = rows.last().map(RowCursor::of);
            let full = rows.len() >= RequestQuery::MOST as usize;
            unseen.extend(rows.into_iter().filter(|row| follower.is_new(row)));
            match next.filter(|_| full) {
                Some(next) => place = next,
                None => return Ok(unseen),
            }
        }
    }

    async fn write(&mut self, rows: Vec<UsageRow>) -> anyhow::Result<Result<(), Unread>> {
        let unknown = |row: &UsageRow| !row.key_id.is_empty() && self.names.name(&row.key_id).is_none();
        if rows.iter().any(unknown) {
            // A key that was made since.
            self.names = KeyNames::of(self.store).await?;
        }
        let rows = rows.into_iter().map(|row| RequestView::new(row, &self.names));
        let text = self.lines.text(&rows.collect::<Vec<_>>())?;
        Ok(Paper.write(&text)?)
    }
}

fn now_ms() -> i64 {
    unix_seconds().saturating_mul(1_000)
}
