//! Is a text the address of a Redis that can be reached?

/// Why not, and what to do.
pub(crate) type Refused = (&'static str, &'static str);

const SHAPE: &str = "write redis://host:6379/0 (rediss:// for TLS), with user:password@ in front of the host if needed, or unix:///run/redis.sock";

/// `redis://[[user]:password@]host[:port][/database]`, `rediss://` for TLS, or the path of a socket.
///
/// # Errors
/// What is wrong and what to do; never the text, which may hold a password.
pub(crate) fn check(url: &str) -> Result<(), Refused> {
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err((
            "it holds a space or a control character",
            "write %20 for a space in a password",
        ));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(("it does not begin with redis://", SHAPE));
    };
    // The client library knows an end that switches the check of certificates off; nothing here does.
    if rest.ends_with("#insecure") {
        return Err((
            "certificates are always checked",
            "take `#insecure` away and name a file with the CA in SSL_CERT_FILE",
        ));
    }
    if rest.contains('#') {
        return Err(("it holds a `#`", "write %23 for a `#` in a password"));
    }
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    match scheme {
        "redis" | "rediss" => host(rest),
        "unix" | "redis+unix" if rest.len() > 1 && rest.starts_with('/') => Ok(()),
        "unix" | "redis+unix" => Err(("the path of the socket is missing", SHAPE)),
        _ => Err(("it does not begin with redis://", SHAPE)),
    }
}

fn host(rest: &str) -> Result<(), Refused> {
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = authority
        .rsplit_once('@')
        .map_or(authority, |(_, address)| address);
    let (host, port) = match address
        .strip_prefix('[')
        .and_then(|inside| inside.split_once(']'))
    {
        Some((inside, port)) => (inside, port),
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if host.is_empty() || !host.chars().all(known) {
        return Err(("it names no host", SHAPE));
    }
    let port_fits = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !port_fits {
        return Err(("its port is no number between 1 and 65535", SHAPE));
    }
    let database = path.strip_suffix('/').unwrap_or(path);
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err(("its database is no number", SHAPE));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_redis_are_told_from_others() {
        for good in [
            "redis://localhost",
            "redis://localhost:6379",
            "redis://10.0.0.1:6379/0",
            "redis://:pass%20word@cache.internal:6380/12?protocol=resp3",
            "redis://user:p@ss@host/",
            "redis://[::1]:6379",
            "rediss://user:p%40ss@cache.example.com:6380/3",
            "rediss://[::1]",
            "unix:///run/redis.sock?db=1",
            "redis+unix:///run/redis.sock",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("localhost:6379", "it does not begin with redis://"),
            ("http://localhost", "it does not begin with redis://"),
            ("rediss://", "it names no host"),
            ("rediss://host/#insecure", "certificates are always checked"),
            ("rediss://host/#other", "it holds a `#`"),
            ("redis://", "it names no host"),
            ("redis://user:secret@:6379", "it names no host"),
            ("redis://host:0", "its port is no number between 1 and 65535"),
            ("redis://host:x", "its port is no number between 1 and 65535"),
            ("redis://host/zero", "its database is no number"),
            ("redis://host#x", "it holds a `#`"),
            ("redis://a host", "it holds a space or a control character"),
            ("unix://", "the path of the socket is missing"),
            ("unix://relative", "the path of the socket is missing"),
        ] {
            assert_eq!(check(bad).unwrap_err().0, why, "{bad}");
        }
    }
}
