//! The strict gate in front of everything: what an HTTP/1 request head must look like (reliability.md section 3). Two parsers that
//! read a message differently are how requests get smuggled, so anything ambiguous is refused.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};

/// Header bytes allowed in all.
pub const MAX_HEAD: usize = 64 * 1024;

/// Checks a request head. The sentence says what is wrong.
///
/// # Errors
/// The head is ambiguous or malformed.
pub fn check(headers: &HeaderMap, http2: bool, authority: Option<&str>) -> Result<(), &'static str> {
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if size > MAX_HEAD {
        return Err("the request headers are larger than 64 KiB");
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().map(http::HeaderValue::as_bytes);
    if lengths.next().is_some()
        || length.is_some_and(|value| value.is_empty() || !value.iter().all(u8::is_ascii_digit))
    {
        return Err("the content-length header is not one number");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
            return Err("transfer-encoding must be `chunked` and nothing else");
        }
        if length.is_some() {
            return Err("content-length and transfer-encoding exclude each other");
        }
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("the host header is given twice");
    }
    let host = host
        .map(http::HeaderValue::as_bytes)
        .or(authority.map(str::as_bytes));
    match host {
        None if http2 => Ok(()),
        None => Err("the host header is missing"),
        Some(host) if is_host(host) => Ok(()),
        Some(_) => Err("the host header is not a host name"),
    }
}

/// True if a raw HTTP/1 head has a content-length line.
#[must_use]
pub fn has_length(head: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n').any(|line| {
        line.get(..NAME.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(NAME))
    })
}

/// The request target as it stands in a raw HTTP/1 head.
#[must_use]
pub fn target(head: &[u8]) -> &[u8] {
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| !matches!(line, [] | [b'\r']))
        .unwrap_or_default();
    line.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

/// Checks a request target: a path, an absolute URL, or `*` for OPTIONS (RFC 9112 section 3.2).
///
/// # Errors
/// It is none of these, or has a fragment.
pub fn check_target(method: &str, target: &[u8]) -> Result<(), &'static str> {
    if target.contains(&b'#') {
        return Err("the request target has a fragment");
    }
    let absolute = |scheme: &[u8]| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    match target {
        [b'/', ..] => Ok(()),
        b"*" if method == "OPTIONS" => Ok(()),
        _ if absolute(b"http://") || absolute(b"https://") => Ok(()),
        _ => Err("the request target does not begin with a slash"),
    }
}

fn is_host(host: &[u8]) -> bool {
    !host.is_empty()
        && host
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_list(list: &[(&'static str, &str)]) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        check(&headers, false, None)
    }

    #[test]
    fn plain_requests_pass() {
        assert_eq!(
            check_list(&[("host", "localhost:8080"), ("content-length", "13")]),
            Ok(())
        );
        assert_eq!(
            check_list(&[("host", "[::1]:8080"), ("transfer-encoding", "Chunked")]),
            Ok(())
        );
        assert_eq!(check(&HeaderMap::new(), true, Some("localhost")), Ok(()));
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let host = ("host", "h");
        for bad in [
            vec![host, ("content-length", "13, 13")],
            vec![host, ("content-length", "13"), ("content-length", "13")],
            vec![host, ("content-length", "+13")],
            vec![host, ("content-length", "")],
            vec![host, ("transfer-encoding", "gzip, chunked")],
            vec![
                host,
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            vec![host, ("transfer-encoding", "xchunked")],
            vec![host, ("transfer-encoding", "chunked"), ("content-length", "5")],
            vec![],
            vec![host, host],
            vec![("host", "a/admin?x=")],
            vec![("host", "a b")],
        ] {
            assert!(check_list(&bad).is_err(), "{bad:?}");
        }
        let large = "x".repeat(MAX_HEAD);
        assert!(check_list(&[host, ("x-large", &large)]).is_err());
    }

    #[test]
    fn targets_are_paths_or_absolute() {
        assert_eq!(
            target(b"\r\nPOST /v1/x?y HTTP/1.1\r\nHost: a\r\n\r\n"),
            b"/v1/x?y"
        );
        for good in ["/", "/v1/models?x=y", "HTTP://localhost/v1/models"] {
            assert_eq!(check_target("POST", good.as_bytes()), Ok(()), "{good}");
        }
        assert_eq!(check_target("OPTIONS", b"*"), Ok(()));
        for bad in [
            "*",
            "",
            "v1/chat/completions",
            "/v1/chat/completions#f",
            "ftp://a/b",
        ] {
            assert!(check_target("POST", bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
