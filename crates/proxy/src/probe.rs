//! Requests of our own to a channel: is it well, which models does it list, how fast does it answer?

use std::time::{Duration, Instant};

use ai_api_converter::failure::from_upstream;
use ai_api_converter::stream::{Relay, RelayOptions, Stream};
use ai_api_converter::{Failure, Format, Options, Source, Target, convert_request, models};
use http::Method;
use opm_config::{Channel, Models};

use crate::attempt::transport;
use crate::net::peer::EndpointPeer;
use crate::net::upstream::{UpstreamRequest, UpstreamResponse, Upstreams};
use crate::outgoing::{Credentials, Outgoing};

/// Largest model list, bytes.
const MAX_LIST: usize = 4 << 20;

/// A channel to ask.
pub struct Probe<'p> {
    /// Connections; not those of the traffic.
    pub upstreams: &'p Upstreams,
    /// The channel.
    pub channel: &'p Channel,
    /// Where it is.
    pub peer: &'p EndpointPeer,
    /// Which of its keys; `None`: without a credential.
    pub key: Option<usize>,
}

/// How a real request went.
#[derive(Clone, Debug)]
pub struct Tested {
    /// HTTP status of the answer, if it came that far.
    pub status: Option<u16>,
    /// From sending to the first content.
    pub first_token: Option<Duration>,
    /// All of it.
    pub total: Duration,
    /// What failed.
    pub failure: Option<Failure>,
}

impl Probe<'_> {
    fn outgoing<'o>(&'o self, format: Format, model: &'o str, endpoint: Option<&'o str>) -> Outgoing<'o> {
        let key = self.key.and_then(|key| self.channel.keys.get(key));
        Outgoing {
            channel: self.channel,
            format,
            model,
            stream: endpoint.is_none(),
            array: false,
            same: false,
            endpoint,
            credential: key.map(|key| Credentials::Own(key.expose())),
            trace: None,
        }
    }

    fn format(&self) -> Format {
        self.channel.formats.first().copied().unwrap_or(Format::Chat)
    }

    /// The models that the channel lists at `path` below the version.
    ///
    /// # Errors
    /// It cannot be reached, refuses, or answers something else.
    pub async fn models(&self, path: &str) -> Result<Vec<String>, Failure> {
        let outgoing = self.outgoing(self.format(), "", Some(path));
        let request = UpstreamRequest {
            method: Method::GET,
            ..outgoing.request(None, bytes::Bytes::new())
        };
        let mut response = self.send(&request).await?;
        let status = response.status();
        let body = response
            .body(MAX_LIST, self.channel.timeouts.idle)
            .await
            .map_err(transport)?;
        if status >= 300 {
            return Err(refused(&response, &body));
        }
        Ok(std::str::from_utf8(&body)
            .ok()
            .and_then(models::ids)
            .unwrap_or_default())
    }

    async fn send(&self, request: &UpstreamRequest) -> Result<UpstreamResponse<'_>, Failure> {
        let sent = self
            .upstreams
            .send(self.peer, request, self.channel.timeouts.first_byte);
        sent.await.map_err(transport)
    }

    /// One tiny real request, streamed.
    pub async fn tiny(&self, model: &str) -> Tested {
        let started = Instant::now();
        let mut tested = Tested {
            status: None,
            first_token: None,
            total: Duration::ZERO,
            failure: None,
        };
        tested.failure = self.tiny_stream(model, started, &mut tested).await.err();
        tested.total = started.elapsed();
        tested
    }

    async fn tiny_stream(&self, model: &str, started: Instant, tested: &mut Tested) -> Result<(), Failure> {
        let format = self.format();
        let outgoing = self.outgoing(format, model, None);
        let request = outgoing.request(None, self.tiny_body(model, format)?.into());
        let mut response = self.send(&request).await?;
        tested.status = Some(response.status());
        let idle = self.channel.timeouts.idle;
        if response.status() >= 300 {
            let body = response.body(MAX_LIST, idle).await.unwrap_or_default();
            return Err(refused(&response, &body));
        }
        let mut stream = Stream::Relay(Box::new(Relay::new(RelayOptions {
            format,
            hide_usage: false,
            rename: false,
            array: false,
            model: model.to_owned(),
            request_id: String::new(),
            now: 0,
        })));
        let mut out = Vec::new();
        loop {
            let progress = match response.chunk(idle).await.map_err(transport)? {
                Some(chunk) => stream.push(&chunk, &mut out),
                None => stream.end(&mut out),
            };
            out.clear();
            if let Some(failure) = progress.failure {
                return Err(failure);
            }
            if progress.content && tested.first_token.is_none() {
                tested.first_token = Some(started.elapsed());
            }
            if progress.ended {
                return Ok(());
            }
        }
    }

    fn tiny_body(&self, model: &str, format: Format) -> Result<Vec<u8>, Failure> {
        let source = Source {
            format: Format::Gemini,
            model: Some(model),
            stream: true,
            array: false,
        };
        let target = Target {
            format,
            dialect: self.channel.dialect,
            model,
            domain: 0,
        };
        let tiny = br#"{"contents":[{"role":"user","parts":[{"text":"Say hi."}]}],"generationConfig":{"maxOutputTokens":16}}"#;
        if format == Format::Gemini {
            return Ok(tiny.to_vec());
        }
        let converted = convert_request(tiny, &source, &target, &Options::default());
        converted.map(|converted| converted.body).map_err(Failure::from)
    }
}

fn refused(response: &UpstreamResponse<'_>, body: &[u8]) -> Failure {
    let header = |name: &str| response.header(name).map(str::to_owned);
    from_upstream(Some(response.status()), &header, body, true)
}

/// A model to try a channel with: the first that is named without a glob, else the first of its own list.
#[must_use]
pub fn model_to_try(channel: &Channel, listed: &[String]) -> Option<String> {
    let named = match &channel.models {
        Models::Globs(globs) => globs.iter().find(|glob| !glob.contains('*')).cloned(),
        Models::Map(map) => {
            let plain = map.iter().find(|(_, upstream)| !upstream.contains('*'));
            plain.map(|(_, upstream)| upstream.clone())
        }
    };
    named.or_else(|| {
        listed
            .iter()
            .find(|model| channel.upstream_model(model).is_some())
            .cloned()
    })
}
