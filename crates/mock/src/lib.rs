//! mock
pub fn spawn(_: std::net::SocketAddr) -> std::io::Result<std::net::SocketAddr> { Err(std::io::Error::other("x")) }
