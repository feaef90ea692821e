//! Answers that need no upstream: model lists, health, estimates of tokens.

use ai_api_converter::models::{ModelEntry, list, one};
use ai_api_converter::{Failure, FailureClass, Format};
use bytes::Bytes;
use opm_config::{ClientKey, Config};
use opm_core::RequestId;
use opm_routing::{NoRoute, served_models, serves_model};

use crate::counting::counted;
use crate::gateway::Refused;
use crate::metering::Learned;
use crate::net::client::Client;
use crate::record::Record;
use crate::refusal::no_route;
use crate::reply;
use crate::stage::credential::query_value;

/// What an answer of our own is made for.
pub(crate) struct Own<'o> {
    pub(crate) client: &'o mut Client,
    pub(crate) id: &'o RequestId,
    pub(crate) shape: Format,
    pub(crate) record: &'o mut Record,
}

impl Own<'_> {
    async fn say(&mut self, body: Vec<u8>, extra: &[(&str, &str)]) -> Result<(), Refused> {
        self.record.status = 200;
        let mut headers = vec![
            ("content-type", "application/json"),
            (reply::id_header(self.shape).as_str(), self.id.as_str()),
        ];
        headers.extend_from_slice(extra);
        self.client
            .respond(200, &headers, body.into())
            .await
            .map_err(|_| None)
    }

    /// All models that the key may use.
    pub(crate) async fn models(&mut self, config: &Config, key: Option<&ClientKey>) -> Result<(), Refused> {
        let codex = self
            .client
            .query()
            .is_some_and(|query| query_value(query, "client_version").is_some());
        if codex {
            // Codex then uses the list it is built with.
            let text = "No model catalogue for this client.";
            return Err(Some(Failure::new(FailureClass::NotFound, text)));
        }
        let body = list(self.shape, &entries(config, key));
        self.say(body, &[]).await
    }

    /// One model.
    pub(crate) async fn model(
        &mut self,
        config: &Config,
        key: Option<&ClientKey>,
        name: &str,
    ) -> Result<(), Refused> {
        let Some(vendor) = serves_model(config, key, name) else {
            return Err(Some(no_route(&NoRoute::UnknownModel, name)));
        };
        let found = ModelEntry {
            id: name.to_owned(),
            owned_by: vendor.as_str(),
        };
        let body = one(self.shape, &found);
        self.say(body, &[]).await
    }

    /// Our own count, marked as an estimate: what frames and tools cost is the provider's affair, also where the text is counted exactly.
    pub(crate) async fn counted(&mut self, body: Vec<u8>) -> Result<(), Refused> {
        self.say(body, &[("x-gateway-token-count", "estimated")]).await
    }

    /// Liveness and readiness.
    pub(crate) async fn health(&mut self, good: bool) -> Result<(), Refused> {
        self.record.status = if good { 200 } else { 503 };
        let text: &'static str = if good {
            "{\"status\":\"ok\"}"
        } else {
            "{\"status\":\"draining\"}"
        };
        let headers = [("content-type", "application/json")];
        let sent = self
            .client
            .respond(self.record.status, &headers, text.into())
            .await;
        sent.map_err(|_| None)
    }

    /// The Responses WebSocket is not offered; 426 makes Codex use HTTP at once (wire.md section 1, item 10).
    pub(crate) async fn no_web_socket(&mut self) -> Result<(), Refused> {
        let text = br#"{"error":{"message":"The Responses WebSocket is not offered here; use HTTP.","type":"invalid_request_error","param":null,"code":"upgrade_required"}}"#;
        let headers = [("content-type", "application/json"), ("upgrade", "HTTP/1.1")];
        self.record.status = 426;
        let sent = self.client.respond(426, &headers, Bytes::from_static(text)).await;
        sent.map_err(|_| None)
    }
}

/// Counts a prompt that no channel of the model counts: the answer in a client's format.
pub(crate) async fn count_here(
    bytes: &Bytes,
    shape: Format,
    (config, learned): (&Config, &Learned),
    model: &str,
) -> Result<Vec<u8>, Refused> {
    let names = config.channels.iter();
    let upstream = names.filter_map(|channel| channel.upstream_model(model)).next();
    let upstream = upstream.as_deref().unwrap_or(model);
    let factor = learned.of(upstream).factor;
    let answer = counted(bytes, shape, upstream, factor).await;
    answer.map_err(|error| Some(Failure::from(error)))
}

fn entries(config: &Config, key: Option<&ClientKey>) -> Vec<ModelEntry> {
    let served = served_models(config, key).into_iter();
    served
        .map(|(id, vendor)| ModelEntry {
            id,
            owned_by: vendor.as_str(),
        })
        .collect()
}
