//! From the end of a request to the collector: a bounded queue, one thread that makes spans and measures, one that sends spans.
//! (The SDK sends the measures on a thread of its own.) Nobody ever waits for the collector; what has no place is counted.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use super::measures::Measures;
use super::span::spans;
use super::{Sampling, Settings};
use crate::Metrics;
use crate::finished::{Finished, Following, Sink};

/// Finished requests that wait for their spans to be made.
const QUEUE: usize = 2_048;
/// Spans that are sent together.
const BATCH: usize = 512;
/// Batches that wait for the collector.
const BATCHES: usize = 4;
/// A batch that does not fill is sent after so long.
const BATCH_AFTER: Duration = Duration::from_secs(5);

/// Sends finished requests to a collector.
pub struct Exporter {
    queue: SyncSender<Message>,
    stopped: Mutex<Receiver<()>>,
    metrics: Metrics,
    /// Which requests get spans; `None`: no spans are sent.
    sampling: Option<Sampling>,
    /// Measures of all requests are sent.
    measures: bool,
}

enum Message {
    Finished(Box<Finished>),
    Stop,
}

/// Why an exporter could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot work.
    #[error("the OpenTelemetry exporter cannot be set up: {0}")]
    Settings(#[from] ExporterBuildError),
    /// No thread could be started.
    #[error("the OpenTelemetry exporter has no thread: {0}")]
    Thread(#[from] std::io::Error),
}

impl Exporter {
    /// Starts sending through `client`. What is lost is counted in `metrics`.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub fn start<C: HttpClient + 'static>(
        settings: &Settings,
        client: C,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let client: Arc<dyn HttpClient> = Arc::new(client);
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", settings.service_version))
            .build();
        let scope = InstrumentationScope::builder("opm")
            .with_version(settings.service_version)
            .build();
        let meters = settings
            .metrics
            .then(|| meters(settings, Arc::clone(&client), resource.clone()))
            .transpose()?;
        let sender = settings
            .traces
            .then(|| Sender::start(settings, client, &resource, metrics.clone()))
            .transpose()?;
        let (queue, taken) = mpsc::sync_channel(QUEUE);
        let (done, stopped) = mpsc::channel();
        let worker = Worker {
            measures: meters
                .as_ref()
                .map(|meters| Measures::new(&meters.meter_with_scope(scope.clone()))),
            meters,
            sender,
            scope,
            batch: Batch::default(),
            since: Instant::now(),
            metrics: metrics.clone(),
        };
        thread::Builder::new().name("otel".into()).spawn(move || {
            worker.run(&taken);
            // Nobody listens if the patience was too short.
            let _ = done.send(());
        })?;
        Ok(Exporter {
            queue,
            stopped: Mutex::new(stopped),
            metrics,
            sampling: settings.traces.then_some(settings.sampling),
            measures: settings.metrics,
        })
    }

    /// Sends what is still here and ends; true if all of it was done within `patience`.
    pub fn stop(&self, patience: Duration) -> bool {
        // The worker never waits for anything but this queue, so there is soon a place in it.
        if self.queue.send(Message::Stop).is_err() {
            return true;
        }
        let stopped = self.stopped.lock();
        stopped.is_ok_and(|stopped| stopped.recv_timeout(patience).is_ok())
    }
}

impl Sink for Exporter {
    fn begin(&self, traceparent: Option<&str>) -> Following {
        let trace = self.sampling.map(|sampling| sampling.place(traceparent));
        Following {
            // Measures name the model that answered, also where no span is sent.
            particulars: self.measures || trace.is_some_and(|trace| trace.sampled),
            trace,
        }
    }

    fn finished(&self, request: Finished) {
        if self.queue.try_send(Message::Finished(Box::new(request))).is_err() {
            self.metrics.otel_dropped(1);
        }
    }
}

fn headers(settings: &Settings) -> HashMap<String, String> {
    settings.headers.iter().cloned().collect()
}

fn meters(
    settings: &Settings,
    client: Arc<dyn HttpClient>,
    resource: Resource,
) -> Result<SdkMeterProvider, ExporterBuildError> {
    let exporter = MetricExporter::builder()
        .with_http()
        .with_shared_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/metrics", settings.endpoint))
        .with_headers(headers(settings))
        .build()?;
    Ok(SdkMeterProvider::builder()
        .with_periodic_exporter(exporter)
        .with_resource(resource)
        .build())
}

/// Spans of whole requests.
#[derive(Default)]
struct Batch {
    requests: u64,
    spans: Vec<SpanData>,
}

struct Worker {
    measures: Option<Measures>,
    meters: Option<SdkMeterProvider>,
    sender: Option<Sender>,
    scope: InstrumentationScope,
    batch: Batch,
    /// When the first request of the batch came.
    since: Instant,
    metrics: Metrics,
}

impl Worker {
    fn run(mut self, taken: &Receiver<Message>) {
        loop {
            let message = if self.batch.requests == 0 {
                taken.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                taken.recv_timeout(BATCH_AFTER.saturating_sub(self.since.elapsed()))
            };
            match message {
                Ok(Message::Finished(request)) => self.take(&request),
                Err(RecvTimeoutError::Timeout) => self.hand_on(),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Some(sender) = self.sender.take() {
            sender.stop(std::mem::take(&mut self.batch));
        }
        if let Some(meters) = &self.meters {
            // What it could not send is lost with the process.
            let _ = meters.shutdown();
        }
    }

    fn take(&mut self, request: &Finished) {
        if let Some(measures) = &mut self.measures {
            measures.record(request);
        }
        let trace = request.trace.filter(|trace| trace.sampled);
        let Some(trace) = trace.filter(|_| self.sender.is_some()) else {
            return;
        };
        if self.batch.requests == 0 {
            self.since = Instant::now();
        }
        self.batch.requests += 1;
        self.batch.spans.extend(spans(&trace, request, &self.scope));
        if self.batch.spans.len() >= BATCH {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let lost = batch.requests;
        let taken = self.sender.as_ref().is_some_and(|sender| sender.try_send(batch));
        if !taken {
            self.metrics.otel_dropped(lost);
        }
    }
}

/// The thread that waits for the collector.
struct Sender {
    batches: SyncSender<Batch>,
    thread: thread::JoinHandle<()>,
}

impl Sender {
    fn start(
        settings: &Settings,
        client: Arc<dyn HttpClient>,
        resource: &Resource,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", settings.endpoint))
            .with_headers(headers(settings))
            .build()?;
        exporter.set_resource(resource);
        let (batches, taken) = mpsc::sync_channel::<Batch>(BATCHES);
        let thread = thread::Builder::new().name("otel-spans".into()).spawn(move || {
            for batch in taken {
                // The exporter tries again by itself, for ten seconds in all.
                if futures_executor::block_on(exporter.export(batch.spans)).is_err() {
                    metrics.otel_dropped(batch.requests);
                }
            }
        })?;
        Ok(Sender { batches, thread })
    }

    fn try_send(&self, batch: Batch) -> bool {
        self.batches.try_send(batch).is_ok()
    }

    /// Waits until all is sent.
    fn stop(self, last: Batch) {
        if last.requests > 0 {
            let _ = self.batches.send(last);
        }
        drop(self.batches);
        let _ = self.thread.join();
    }
}
