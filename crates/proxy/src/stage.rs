//! The stages of a request before an upstream is asked: pure decisions on its head.

pub mod credential;
pub mod path;
