//! The stages of a request before an upstream is asked: pure decisions on its head and its body's top level.

pub mod authenticate;
pub mod conversation;
pub mod credential;
pub mod path;
