//! The invariants between decoder and encoder (wire.md 4.2).
