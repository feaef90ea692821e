//! Why the store cannot be asked, in words for the operator.
//!
//! Never in the store's own words: an old Redis, or what stands in front of it, repeats commands that it does not know, and
//! with that the password of a log-in.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ConnectionAddr, ErrorKind, RedisError};
use rustls::CertificateError;

/// What is wrong and what to do about it.
pub(super) fn words(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::AuthenticationFailed => "it refuses the user or the password of the address".to_owned(),
        ErrorKind::Io => {
            let hint = tls_error(error).and_then(hint).unwrap_or_default();
            format!("{error}{hint}")
        }
        _ => format!(
            "it answers with {}; are user, password and database of the address right?",
            error.code().unwrap_or_else(|| error.category())
        ),
    }
}

/// No connection in time. A server of plain text waits for the end of what it takes for a command.
pub(super) fn late(address: &ConnectionAddr) -> RedisError {
    let text = match address {
        ConnectionAddr::TcpTls { .. } => "no connection in time; does it speak TLS on this port?",
        _ => "no connection in time",
    };
    io::Error::new(io::ErrorKind::TimedOut, text).into()
}

fn hint(error: &rustls::Error) -> Option<&'static str> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            Some("; a private CA must be in the file that SSL_CERT_FILE names")
        }
        rustls::Error::InvalidMessage(_) => Some("; does it speak TLS on this port?"),
        _ => None,
    }
}

/// What TLS found wrong, out of the errors that it is wrapped in.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    let source = error.source()?.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
    source.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod tests {
    use redis::ServerErrorKind;
    use rustls::InvalidMessage;

    use super::*;

    fn of_tls(error: rustls::Error) -> String {
        words(&io::Error::new(io::ErrorKind::InvalidData, error).into())
    }

    #[test]
    fn what_tls_found_wrong_comes_with_what_to_do() {
        assert_eq!(
            of_tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
            "invalid peer certificate: UnknownIssuer; a private CA must be in the file that SSL_CERT_FILE names"
        );
        assert!(
            of_tls(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType))
                .ends_with("does it speak TLS on this port?")
        );
        let expired = of_tls(rustls::Error::InvalidCertificate(CertificateError::Expired));
        assert_eq!(expired, "invalid peer certificate: Expired");
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        assert_eq!(words(&refused.into()), "connection refused");
    }

    #[test]
    fn the_words_of_the_store_are_not_repeated() {
        let echo = "unknown command `AUTH`, with args beginning with: `hunter22`".to_owned();
        for kind in [
            ErrorKind::AuthenticationFailed,
            ErrorKind::Server(ServerErrorKind::ResponseError),
            ErrorKind::Client,
        ] {
            let said = words(&RedisError::from((kind, "refused", echo.clone())));
            assert!(!said.contains("hunter22") && !said.contains("AUTH"), "{said}");
        }
        let kind = ErrorKind::Server(ServerErrorKind::ResponseError);
        assert!(words(&RedisError::from((kind, "refused"))).starts_with("it answers with ERR;"));
    }
}
