//! `observability:`, and the variables of OpenTelemetry.

use opm_core::Secret;

use super::secret::secret;
use super::whole;
use crate::base_url::BaseUrl;
use crate::config::Config;
use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::node::Placed;
use crate::observability::{Endpoint, Otlp, Sampler};
use crate::section::Reading;

/// What the exporter adds to the address by itself.
const PATHS: [&str; 2] = ["/v1/traces", "/v1/metrics"];

pub(super) fn observability(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "observability") {
        match key.value.as_str() {
            "otlp" => otlp(value, &mut config.otlp, r),
            // Prompts and answers are never sent.
            "capture_content" => r.inactive(key),
            _ => r.unknown(key, &["otlp", "capture_content"]),
        }
    }
}

const OTLP: &[&str] = &["endpoint", "headers", "traces", "metrics", "service_name"];

fn otlp(node: &Placed, otlp: &mut Otlp, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "otlp") {
        match key.value.as_str() {
            "endpoint" => {
                let Some(text) = r.text(value).filter(|text| !text.trim().is_empty()) else {
                    continue;
                };
                match endpoint(&text) {
                    Ok(found) => otlp.endpoint = Some(found),
                    Err(why) => {
                        let help = Some("write http://collector:4318, for example".into());
                        r.error("E007", value, format!("`endpoint` is no collector: {why}"), help);
                    }
                }
            }
            "headers" => headers(value, otlp, r),
            "traces" => otlp.traces = r.flag(value).unwrap_or(true),
            "metrics" => otlp.metrics = r.flag(value).unwrap_or(true),
            "service_name" => {
                if let Some(name) = r.text(value).filter(|name| !name.is_empty()) {
                    otlp.service_name = name;
                }
            }
            _ => r.unknown(key, OTLP),
        }
    }
}

fn headers(node: &Placed, otlp: &mut Otlp, r: &mut Reading<'_>) {
    for (name, value) in r.members(node, "headers") {
        if !is_header_name(&name.value) {
            r.error("E008", name, format!("`{}` is no header name", name.value), None);
            continue;
        }
        if let Some(text) = secret(value, r) {
            set(otlp, &name.value, text);
        }
    }
}

fn set(otlp: &mut Otlp, name: &str, value: String) {
    let name = name.to_ascii_lowercase();
    otlp.headers.retain(|(known, _)| *known != name);
    otlp.headers.push((name, Secret::new(value)));
}

fn is_header_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !text.is_empty() && text.bytes().all(good)
}

fn endpoint(text: &str) -> Result<Endpoint, &'static str> {
    let text = text.trim().trim_end_matches('/');
    if PATHS.iter().any(|path| text.ends_with(path)) {
        return Err("leave /v1/traces and /v1/metrics out, they are added");
    }
    let at = BaseUrl::parse(text)?;
    Ok(Endpoint {
        text: text.to_owned(),
        at,
    })
}

/// The variables that every OpenTelemetry SDK knows. The file says it first, headers excepted: they are added. They often come
/// with the machine, so that a bad one stops nothing.
pub(super) fn from_env(otlp: &mut Otlp, env: &Environment, problems: &mut Vec<Problem>) {
    let mut ignored = |message: &str, help: &str| {
        problems.push(whole(Severity::Warning, "W006", message, help));
    };
    let address = env.set("OTEL_EXPORTER_OTLP_ENDPOINT");
    if let Some(text) = address.filter(|_| otlp.endpoint.is_none()) {
        match endpoint(text) {
            Ok(found) => otlp.endpoint = Some(found),
            Err(why) => {
                let message = format!("OTEL_EXPORTER_OTLP_ENDPOINT is no collector: {why}");
                ignored(&message, "write http://collector:4318, for example");
            }
        }
    }
    otlp.switch_off(env);
    if otlp.collector().is_none() {
        return;
    }
    if env.set("OTEL_EXPORTER_OTLP_PROTOCOL") == Some("grpc") {
        ignored(
            "OTEL_EXPORTER_OTLP_PROTOCOL asks for gRPC, but OTLP is sent over HTTP",
            "name the collector's port for HTTP, mostly 4318",
        );
    }
    for pair in env
        .set("OTEL_EXPORTER_OTLP_HEADERS")
        .unwrap_or_default()
        .split(',')
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (name.trim(), decoded(value.trim())) {
            ("", _) => {}
            (name, Some(value)) if is_header_name(name) => set(otlp, name, value),
            // The pair may be a secret as a whole.
            _ => ignored(
                "OTEL_EXPORTER_OTLP_HEADERS cannot be read",
                "write name=value,name=value with values as in a URL",
            ),
        }
    }
    let name = env.set("OTEL_SERVICE_NAME");
    if let Some(name) = name.filter(|_| otlp.service_name == Otlp::default().service_name) {
        otlp.service_name = name.to_owned();
    }
    match sampler(env) {
        Some(found) => otlp.sampler = found,
        None => ignored(
            "OTEL_TRACES_SAMPLER or OTEL_TRACES_SAMPLER_ARG cannot be read",
            "write always_on, always_off, traceidratio, or parentbased_ before one of these; the argument is a share from 0 to 1",
        ),
    }
}

impl Otlp {
    /// What the variables switch off is off, whatever the file says.
    fn switch_off(&mut self, env: &Environment) {
        let says = |name, word: &str| {
            env.set(name)
                .is_some_and(|text| text.trim().eq_ignore_ascii_case(word))
        };
        if says("OTEL_SDK_DISABLED", "true") {
            self.endpoint = None;
        }
        self.traces &= !says("OTEL_TRACES_EXPORTER", "none");
        self.metrics &= !says("OTEL_METRICS_EXPORTER", "none");
    }
}

fn sampler(env: &Environment) -> Option<Sampler> {
    let Some(word) = env.set("OTEL_TRACES_SAMPLER") else {
        return Some(Sampler::default());
    };
    let root = word.strip_prefix("parentbased_");
    let ratio = match root.unwrap_or(word) {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => env.set("OTEL_TRACES_SAMPLER_ARG").map_or(Some(1.0), |text| {
            text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
        })?,
        _ => return None,
    };
    Some(Sampler {
        parent_based: root.is_some(),
        ratio,
    })
}

/// A value with `%20` and the like in it.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains(|c: char| c.is_control()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{compile_env, compile_file};

    fn file(text: &str, env: &[(&str, &str)]) -> crate::Loaded {
        let source = format!("version: 1\nchannels: [{{ name: a, format: openai, keys: [] }}]\n{text}");
        let env = Environment::new(env.iter().map(|(name, value)| (*name, *value)));
        compile_file(Path::new("opm.yaml"), &source, &env)
    }

    fn otlp(text: &str, env: &[(&str, &str)]) -> Otlp {
        let loaded = file(text, env);
        let problems = loaded.problems;
        loaded.config.unwrap_or_else(|| panic!("{problems:?}")).otlp
    }

    fn shown(otlp: &Otlp) -> Vec<(&str, &str)> {
        let pairs = otlp.headers.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.expose()))
            .collect()
    }

    #[test]
    fn nothing_is_sent_unless_a_collector_is_named() {
        assert_eq!(otlp("", &[]).collector(), None);
        assert_eq!(
            otlp("observability: { otlp: { endpoint: '' } }", &[]).collector(),
            None
        );
        let off = "observability: { otlp: { endpoint: 'http://c:4318', traces: false, metrics: false } }";
        assert_eq!(otlp(off, &[]).collector(), None);
    }

    #[test]
    fn the_file_says_where_and_what() {
        let found = otlp(
            "observability:\n  otlp:\n    endpoint: https://otlp.example.com/otlp/\n    headers: { X-Token: abc }\n    metrics: false\n    service_name: gateway\n",
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://other:4318"),
                ("OTEL_SERVICE_NAME", "other"),
            ],
        );
        let collector = found.collector().unwrap();
        assert_eq!(collector.text, "https://otlp.example.com/otlp");
        assert_eq!((collector.at.tls, collector.at.port), (true, 443));
        assert_eq!(shown(&found), [("x-token", "abc")]);
        assert_eq!((found.traces, found.metrics), (true, false));
        assert_eq!(found.service_name, "gateway");
    }

    #[test]
    fn the_variables_of_opentelemetry_do_without_a_file() {
        let env = Environment::new([
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20abc, x-scope=1",
            ),
            ("OTEL_SERVICE_NAME", "gateway"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        let found = compile_env(&env).config.unwrap().otlp;
        assert_eq!(found.collector().unwrap().text, "http://collector:4318");
        assert_eq!(shown(&found), [("authorization", "Bearer abc"), ("x-scope", "1")]);
        assert_eq!(found.service_name, "gateway");
        let wanted = Sampler {
            parent_based: true,
            ratio: 0.25,
        };
        assert_eq!(found.sampler, wanted);
    }

    #[test]
    fn what_a_variable_switches_off_is_off() {
        let text = "observability: { otlp: { endpoint: 'http://c:4318' } }";
        let of = |env| {
            let found = otlp(text, env);
            (found.collector().is_some(), found.traces, found.metrics)
        };
        assert_eq!(of(&[("OTEL_SDK_DISABLED", "True")]), (false, true, true));
        assert_eq!(of(&[("OTEL_SDK_DISABLED", "no")]), (true, true, true));
        assert_eq!(of(&[("OTEL_TRACES_EXPORTER", "none")]), (true, false, true));
        assert_eq!(of(&[("OTEL_METRICS_EXPORTER", "none")]), (true, true, false));
        assert_eq!(of(&[("OTEL_TRACES_EXPORTER", "otlp")]), (true, true, true));
    }

    #[test]
    fn a_variable_wins_over_a_header_of_the_file() {
        let text = "observability: { otlp: { endpoint: 'http://c:4318', headers: { a: '1', b: '2' } } }";
        let found = otlp(text, &[("OTEL_EXPORTER_OTLP_HEADERS", "A=3")]);
        assert_eq!(shown(&found), [("b", "2"), ("a", "3")]);
    }

    #[test]
    fn mistakes_of_the_file_are_errors() {
        for (text, code) in [
            ("{ otlp: { endpoint: 'collector:4318' } }", "E007"),
            ("{ otlp: { endpoint: 'http://c:4318/v1/traces' } }", "E007"),
            ("{ otlp: { endpont: 'http://c' } }", "E002"),
            ("{ otlp: { headers: { 'a b': secret } } }", "E008"),
            ("{ otlp: { traces: 1 } }", "E003"),
        ] {
            let loaded = file(&format!("observability: {text}"), &[]);
            let found: Vec<&str> = loaded.problems.iter().map(|problem| problem.code).collect();
            assert!(
                loaded.config.is_none() && found.contains(&code),
                "{text}: {:?}",
                loaded.problems
            );
        }
    }

    #[test]
    fn variables_that_cannot_be_read_are_said_stop_nothing_and_are_never_repeated() {
        let here = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://hush"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hush-hush=%zz"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER", "xray"),
        ] {
            let loaded = file("", &[here, (name, value)]);
            let problems = format!("{:?}", loaded.problems);
            assert!(
                problems.contains("W006") && !problems.contains("hush"),
                "{name}: {problems}"
            );
            assert!(loaded.config.is_some());
        }
        let ratio = |text| {
            otlp(
                "",
                &[
                    here,
                    ("OTEL_TRACES_SAMPLER", "traceidratio"),
                    ("OTEL_TRACES_SAMPLER_ARG", text),
                ],
            )
        };
        assert!(!ratio("0.5").sampler.parent_based);
        assert_eq!(ratio("2").sampler, Sampler::default());
    }

    #[test]
    fn variables_meant_for_others_are_no_matter_without_a_collector() {
        let loaded = file(
            "",
            &[
                ("OTEL_TRACES_SAMPLER", "xray"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ],
        );
        assert!(
            !format!("{:?}", loaded.problems).contains("W006"),
            "{:?}",
            loaded.problems
        );
    }

    #[test]
    fn content_is_never_captured_and_that_is_said() {
        let loaded = file("observability: { capture_content: true }", &[]);
        assert_eq!(loaded.problems[0].code, "W001");
        assert!(loaded.config.is_some());
    }
}
