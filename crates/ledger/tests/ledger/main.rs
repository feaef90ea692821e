//! The ledger from outside: the record format, the disk taken away, crashes, the feeding of a store.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may")]

mod disk;
mod entries;
mod feeding;
mod fixture;
mod records;
mod recovery;
