//! The running gateway, asked through its admin API.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use opm_admin::{ErrorBody, ErrorView};
use opm_config::Config;
use opm_core::Secret;
use opm_proxy::net::peer::{Address, EndpointPeer, HttpVersion};
use opm_proxy::net::upstream::{UpstreamRequest, Upstreams};
use opm_store::{Location, Purpose, admin_token};

use crate::command::NotConfigured;

/// Longer than any test of a channel.
const PATIENCE: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(3);
/// Largest answer, bytes.
const MOST: usize = 16 << 20;

/// The gateway of a configuration.
pub(crate) struct Gateway {
    upstreams: Upstreams,
    peer: EndpointPeer,
    address: SocketAddr,
    token: Secret,
    token_from: String,
}

/// The gateway said no.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) ErrorView);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

impl Gateway {
    /// The gateway that runs with this configuration, which stands in `file`.
    pub(crate) fn of(config: &Config, file: &str) -> anyhow::Result<Self> {
        let (token, token_from) = token(config, file)?;
        let mut address = config.admin.listen;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let place = Address {
            host: address.ip().to_string(),
            port: address.port(),
            tls: false,
            version: HttpVersion::Http1,
        };
        Ok(Gateway {
            upstreams: Upstreams::new(None),
            peer: EndpointPeer::new(&place, CONNECT, CONNECT),
            address,
            token,
            token_from,
        })
    }

    /// The answer's JSON text.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<String> {
        self.send(Method::GET, path, Bytes::new()).await
    }

    /// The answer's JSON text; `body` is JSON text or empty.
    pub(crate) async fn post(&self, path: &str, body: String) -> anyhow::Result<String> {
        self.send(Method::POST, path, body.into()).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> anyhow::Result<String> {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token.expose()));
        let mut bearer =
            bearer.map_err(|_| anyhow!("the admin token from {} is no ASCII text", self.token_from))?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let request = UpstreamRequest {
            method,
            path: format!("/api/v1/{path}"),
            headers,
            body,
        };
        let sent = self.upstreams.send(&self.peer, &request, PATIENCE).await;
        let mut response = sent.map_err(|error| {
            let address = self.address;
            anyhow!("no gateway answers at {address} ({error}): start it with `opm serve`, or name its configuration with -c; `admin.listen` says where it listens")
        })?;
        let status = response.status();
        if let Some(why) = response.header("x-opm-pending") {
            eprintln!("opm: stored, but not in force yet: {why}");
        }
        let mut text = Vec::new();
        while let Some(chunk) = response
            .chunk(PATIENCE)
            .await
            .context("reading the gateway's answer")?
        {
            text.extend_from_slice(&chunk);
            if text.len() > MOST {
                bail!("the gateway's answer is larger than 16 MiB");
            }
        }
        let text = String::from_utf8(text).context("the gateway's answer is no text")?;
        self.check(status, text)
    }

    fn check(&self, status: u16, text: String) -> anyhow::Result<String> {
        if (200..300).contains(&status) {
            return Ok(text);
        }
        if status == 401 {
            let from = &self.token_from;
            bail!(
                "the gateway at {} does not take the admin token from {from}: it was started with another one",
                self.address
            );
        }
        match serde_json::from_str::<ErrorBody>(&text) {
            Ok(body) => Err(Refused(body.error).into()),
            Err(_) => bail!(
                "what answers at {} is no admin API of opm (status {status}): look at `admin.listen`",
                self.address
            ),
        }
    }
}

/// The admin token, and where it was found. Nothing is made here: the gateway does that, as the user it runs as.
fn token(config: &Config, file: &str) -> anyhow::Result<(Secret, String)> {
    if let Some(token) = &config.admin.token {
        return Ok((
            token.clone(),
            format!("`admin.token` in {file} or OPM_ADMIN_TOKEN"),
        ));
    }
    let location = config.storage.as_deref().map(Location::parse).transpose()?;
    let Some(database) = location.as_ref().and_then(Location::file) else {
        let text = format!(
            "{file} names no admin token: set `admin.token` there, or OPM_ADMIN_TOKEN, for the gateway and for this command"
        );
        return Err(NotConfigured(text).into());
    };
    let beside = Purpose::Admin.file_beside(database);
    if !beside.try_exists().unwrap_or(true) {
        bail!(
            "there is no admin token in {}: the gateway makes it when it starts; start it with `opm serve`, or set OPM_ADMIN_TOKEN",
            beside.display()
        );
    }
    let token = location.as_ref().map(admin_token).transpose()?.flatten();
    let token = token.ok_or_else(|| anyhow!("there is no admin token beside the store"))?;
    Ok((token, beside.display().to_string()))
}

/// A text as part of a path or a query.
pub(crate) fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_become_parts_of_a_url() {
        assert_eq!(super::encode("a/b ü&c?.x-1"), "a%2Fb%20%C3%BC%26c%3F.x-1");
    }
}
