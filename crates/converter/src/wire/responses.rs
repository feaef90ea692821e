//! Wire types of the responses format.
