//! The life of a request on Pingora (ARCHITECTURE.md): accept, recognize, authenticate, route, then attempts until one commits.

pub mod net;
pub mod stage;
