//! Everything that names Pingora: sessions of clients, connections to upstreams, listeners, shutdown. A new Pingora touches these
//! files and nothing else.

pub mod budget;
pub mod client;
pub mod coding;
pub mod door;
pub mod drain;
pub mod framing;
mod held;
mod http1;
pub(crate) mod patience;
pub mod peer;
mod response;
pub(crate) mod sending;
pub mod server;
pub mod service;
pub mod site;
pub mod tap;
pub mod upstream;
