//! Wire types of the messages format.
