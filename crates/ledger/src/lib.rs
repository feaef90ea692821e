//! The ledger: the durable record of every request and every attempt, and what they cost.
//!
//! What it promises (P1 to P4 of the README):
//! - Every accepted request has exactly one settled row, whichever way it ends; attempts that failed before are rows of
//!   their own. `(request_id, attempt)` is unique.
//! - START is in the log before a channel is asked, END before the last byte goes to the client, CHECKPOINT every second
//!   or 256 output tokens. They survive `kill -9`; against a power loss they are synced together every 100 ms, or each
//!   ([`Sync::Always`]). What was running at a crash is settled as `crashed` at the next start.
//! - The store gets every row at least once, in its own time. A request never waits for the store. A thread never
//!   waits longer than 10 ms for another one's write; where a write itself hangs, its request does, and `watch.rs` sees to it that no other
//!   one does. A request that wants to be sure waits for its [`Ticket`], at most a second, and shares the
//!   write with those that are ready too. What cannot be recorded is counted in [`Health`], never blocked on.
//!
//! What it is not: it does not decide prices for clients or limits, it holds no prompt and no secret, and it is no query
//! engine: the store is.
//!
//! Where to start reading: [`Entry`] is what a request holds; `record.rs` is the format of the log; `log.rs` appends,
//! `keeper.rs` syncs, `watch.rs` minds writes that hang, `recovery.rs` reads it back, `slot.rs` lets several
//! processes share a directory, `feeder.rs` brings it to the store, `replay.rs` shows what is still there. [`Prices`] turns usage into money.

mod company;
mod directory;
mod entry;
mod feeder;
mod io;
mod keeper;
mod ledger;
mod log;
mod metered;
mod options;
mod price;
mod prices;
mod queue;
mod reader;
pub mod record;
mod recovery;
mod replay;
mod row;
mod slot;
mod texts;
mod ticket;
mod varint;
mod watch;
mod writer;

pub use directory::OpenError;
pub use entry::{Ending, Entry, Expected, Start, Target};
pub use feeder::{Feeder, Sink, SinkError};
pub use io::{Disk, Io, Segment};
pub use ledger::Ledger;
pub use log::Health;
pub use metered::{Metered, Source};
pub use options::{Options, Sync, WhenFull, unix_ms};
pub use price::{Class, Cost, Line, PicoUsd, Rate, Tier, Tokens};
pub use prices::{Day, PriceError, Prices, Rule};
pub use recovery::Recovered;
pub use replay::Replayed;
pub use row::{Billed, Outcome, Row, Settled};
pub use ticket::Ticket;
