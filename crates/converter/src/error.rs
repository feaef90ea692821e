//! Why a request could not be converted.

use std::borrow::Cow;
use std::fmt;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not JSON.
    Syntax,
    /// JSON, but not what this member takes.
    Invalid,
    /// A member that must be there is missing.
    Missing,
    /// Nested deeper than [`crate::json::MAX_DEPTH`].
    TooDeep,
    /// Right in the client's format, but the upstream's format cannot carry it and it must not be dropped (class M).
    Unsupported,
}

/// A problem in a body, with the place where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    at: String,
    message: Cow<'static, str>,
}

impl Error {
    /// An error at the value being read; callers add the path with [`Error::under`].
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Inner {
            kind,
            at: String::new(),
            message: message.into(),
        }))
    }

    /// An error at a JSON pointer.
    pub fn at(kind: ErrorKind, at: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Inner {
            kind,
            at: at.into(),
            message: message.into(),
        }))
    }

    pub(crate) fn syntax(message: String) -> Self {
        Error::new(ErrorKind::Syntax, message)
    }

    pub(crate) fn wrong_type(message: String) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn too_deep(limit: usize) -> Self {
        Error::new(
            ErrorKind::TooDeep,
            format!("the JSON document is nested deeper than {limit} levels"),
        )
    }

    /// The same error, one member further out.
    #[must_use]
    pub fn under(mut self, key: &str) -> Self {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        self.0.at = format!("/{escaped}{}", self.0.at);
        self
    }

    /// The same error, one array element further out.
    #[must_use]
    pub fn under_index(mut self, index: usize) -> Self {
        self.0.at = format!("/{index}{}", self.0.at);
        self
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Where: a JSON pointer into the client's body, empty for the whole of it.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.0.at
    }

    /// The sentence without the place. Never holds content of the body.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.at.is_empty() {
            f.write_str(&self.0.message)
        } else {
            write!(f, "{}: {}", self.0.at, self.0.message)
        }
    }
}

impl std::error::Error for Error {}
