//! Where an upstream is. People paste addresses with and without the version segment; both mean the same.

/// An upstream address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// https.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path in front of the version segment, without a slash at the end: `/openai`, mostly empty.
    pub prefix: String,
    /// The version segment that was given: `v1`, `v1beta`.
    pub version: Option<String>,
}

impl BaseUrl {
    /// Reads `http(s)://host[:port][/prefix][/version]`.
    ///
    /// # Errors
    /// The sentence says what is wrong with it.
    pub fn parse(text: &str) -> Result<BaseUrl, &'static str> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("it must begin with https:// or http://"),
        };
        if rest.contains(['?', '#', ' ']) {
            return Err("it must not hold a query, a fragment or blanks");
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err("credentials do not belong into the address; use `keys`");
        }
        let (host, port) = split_port(authority, if tls { 443 } else { 80 })?;
        let mut segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let is_version = |segment: &&str| {
            let digits = segment.strip_prefix('v').unwrap_or_default();
            digits.starts_with(|c: char| c.is_ascii_digit())
        };
        let version = segments
            .last()
            .copied()
            .filter(|segment| is_version(segment))
            .map(str::to_owned);
        if version.is_some() {
            segments.pop();
        }
        let prefix: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        Ok(BaseUrl {
            tls,
            host,
            port,
            prefix,
            version,
        })
    }

    /// The path of an endpoint: prefix, version (the given one, else `default`), rest.
    #[must_use]
    pub fn path(&self, default: &str, rest: &str) -> String {
        let version = self.version.as_deref().unwrap_or(default);
        [&*self.prefix, "/", version, "/", rest].concat()
    }

    /// As people write it, without the version.
    #[must_use]
    pub fn display(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let port = if self.port == if self.tls { 443 } else { 80 } {
            String::new()
        } else {
            format!(":{}", self.port)
        };
        format!("{scheme}://{}{port}{}", self.host, self.prefix)
    }
}

fn split_port(authority: &str, default: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => authority
            .rsplit_once(':')
            .map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    let port = match port {
        Some(port) => port
            .parse()
            .map_err(|_| "the port is not a number between 1 and 65535")?,
        None => default,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_version_mean_the_same() {
        for text in [
            "https://api.openai.com",
            "https://api.openai.com/v1",
            "https://api.openai.com/v1/",
        ] {
            let url = BaseUrl::parse(text).unwrap();
            assert_eq!(
                url.path("v1", "chat/completions"),
                "/v1/chat/completions",
                "{text}"
            );
            assert_eq!(url.display(), "https://api.openai.com");
        }
        let url = BaseUrl::parse("http://gpu:8000/openai/v3").unwrap();
        assert_eq!(
            (url.port, url.path("v1", "responses").as_str()),
            (8000, "/openai/v3/responses")
        );
        assert_eq!(BaseUrl::parse("http://[::1]:8080").unwrap().host, "::1");
        for bad in [
            "api.openai.com",
            "https://",
            "https://u:p@h",
            "https://h:x",
            "https://h?q",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
