//! The ledger from outside: the record format, the disk taken away, crashes, the feeding of a store, `kill -9`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod disk;
mod entries;
mod feeding;
mod fixture;
mod kill;
mod records;
mod recovery;
