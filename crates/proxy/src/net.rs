//! Everything that names Pingora: sessions of clients, connections to upstreams, listeners, shutdown. A new Pingora touches these
//! files and nothing else.

pub mod client;
pub mod coding;
pub mod drain;
pub mod framing;
pub mod peer;
pub mod server;
pub mod service;
pub mod site;
pub mod upstream;
