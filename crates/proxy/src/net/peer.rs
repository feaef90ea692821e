//! Where an upstream is and how it is dialled: a Pingora `Peer` whose pool key is the endpoint's name, not one of its addresses.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr as InetAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::connectors::l4::Connect;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::upstreams::peer::{Peer, PeerOptions};
use pingora_core::{Error, ErrorType};
use tokio::net::TcpStream;

/// How an endpoint speaks HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum HttpVersion {
    /// HTTP/2 if TLS and the server agree, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only, also without TLS.
    Http2,
}

/// Address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Speak TLS.
    pub tls: bool,
    /// HTTP version.
    pub version: HttpVersion,
}

/// An endpoint ready to be dialled. Built once per channel.
#[derive(Clone)]
pub struct EndpointPeer {
    name: Arc<str>,
    host: Arc<str>,
    authority: Arc<str>,
    placeholder: SocketAddr,
    tls: bool,
    key: u64,
    options: PeerOptions,
}

/// Receive buffer of upstream sockets, bytes: a client that does not read must not park megabytes in the kernel
/// (reliability.md section 0, finding 8).
const RECV_BUFFER: usize = 256 * 1024;

impl EndpointPeer {
    /// A peer for this address. `connect` bounds name look-up and TCP, `handshake` all of it with TLS.
    #[must_use]
    pub fn new(address: &Address, connect: Duration, handshake: Duration) -> Self {
        let mut options = PeerOptions::new();
        options.connection_timeout = Some(connect);
        options.total_connection_timeout = Some(if address.tls { connect + handshake } else { connect });
        options.idle_timeout = Some(Duration::from_secs(60));
        options.max_h2_streams = 100;
        options.tcp_recv_buf = Some(RECV_BUFFER);
        options.alpn = match (address.version, address.tls) {
            (HttpVersion::Http2, _) => ALPN::H2,
            (HttpVersion::Auto, true) => ALPN::H2H1,
            _ => ALPN::H1,
        };
        options.custom_l4 = Some(Arc::new(Dial {
            host: address.host.clone(),
            port: address.port,
            patience: connect,
        }));
        let mut hasher = DefaultHasher::new();
        address.hash(&mut hasher);
        EndpointPeer {
            name: format!("{}:{}", address.host, address.port).into(),
            host: address.host.as_str().into(),
            authority: authority(address).into(),
            placeholder: SocketAddr::Inet(InetAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port)),
            tls: address.tls,
            key: hasher.finish(),
            options,
        }
    }

    /// Host and port, for the `Host` header and `:authority`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// May the connection speak HTTP/2?
    #[must_use]
    pub fn may_http2(&self) -> bool {
        self.options.alpn.get_max_http_version() == 2
    }
}

/// Without the port that the scheme has anyway.
fn authority(address: &Address) -> String {
    let Address { host, port, tls, .. } = address;
    let default = if *tls { 443 } else { 80 };
    let port = if *port == default {
        String::new()
    } else {
        format!(":{port}")
    };
    if host.contains(':') {
        format!("[{host}]{port}")
    } else {
        format!("{host}{port}")
    }
}

impl fmt::Display for EndpointPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Peer for EndpointPeer {
    fn address(&self) -> &SocketAddr {
        &self.placeholder
    }

    fn tls(&self) -> bool {
        self.tls
    }

    // Never empty with TLS: an empty SNI would switch verification off in Pingora.
    fn sni(&self) -> &str {
        &self.host
    }

    fn reuse_hash(&self) -> u64 {
        self.key
    }

    fn get_peer_options(&self) -> Option<&PeerOptions> {
        Some(&self.options)
    }

    fn get_mut_peer_options(&mut self) -> Option<&mut PeerOptions> {
        Some(&mut self.options)
    }

    // The pool key already says that it is the same endpoint; its IP address may have changed.
    fn matches_fd<V: AsRawFd>(&self, _fd: V) -> bool {
        true
    }
}

/// Looks the name up without blocking and tries every address.
#[derive(Debug)]
struct Dial {
    host: String,
    port: u16,
    /// For the look-up and all addresses together: Pingora's own limit does not reach a custom dialler.
    patience: Duration,
}

#[async_trait]
impl Connect for Dial {
    async fn connect(&self, _addr: &SocketAddr) -> pingora_core::Result<Stream> {
        let dialled = tokio::time::timeout(self.patience, self.dial()).await;
        dialled.unwrap_or_else(|_| Err(Error::explain(ErrorType::ConnectTimedout, "connecting")))
    }
}

impl Dial {
    async fn dial(&self) -> pingora_core::Result<Stream> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses = found
            .map_err(|error| Error::because(ErrorType::ConnectNoRoute, "looking up the host name", error))?;
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Not fatal: the connection works without it, only slower.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream.into());
                }
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Err(Error::because(ErrorType::ConnectRefused, "connecting", error))
            }
            Some(error) => Err(Error::because(ErrorType::ConnectError, "connecting", error)),
            None => Err(Error::explain(
                ErrorType::ConnectNoRoute,
                "the host name has no address",
            )),
        }
    }
}
