//! Every error answer: `{"error":{"code","message","help"}}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use opm_store::{MaterialError, StoreError, VaultError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::Problem;
use crate::keys::KeyError;
use crate::usage::AskError;

/// Body of every error answer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorView,
}

/// An error: what is wrong and what to do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorView {
    /// Stable word for programs.
    pub code: String,
    /// What is wrong. Never a secret.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Every problem, where a definition was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// A request that is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    view: ErrorView,
    retry_after: Option<i64>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Refusal {
            status,
            view: ErrorView {
                code: code.to_owned(),
                message: message.into(),
                help: None,
                problems: Vec::new(),
            },
            retry_after: None,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.view.help = Some(help.into());
        self
    }

    /// In so many seconds it may be tried again.
    pub(crate) fn retry_after(mut self, seconds: i64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Something in the body is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }

    /// A definition is wrong.
    pub(crate) fn problems(what: &str, problems: Vec<Problem>) -> Self {
        let errors = problems.iter().filter(|problem| problem.is_error());
        let said: Vec<&str> = errors.map(|problem| problem.message.as_str()).collect();
        let mut refusal = Refusal::invalid(format!("{what} cannot be used: {}", said.join("; ")));
        refusal.view.help = problems.iter().find_map(|problem| problem.help.clone());
        refusal.view.problems = problems;
        refusal
    }

    pub(crate) fn not_found(what: &str, name: &str, list: &str) -> Self {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no {what} `{name}`"),
        )
        .help(format!("GET {list} lists what there is"))
    }

    pub(crate) fn conflict(code: &str, message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::CONFLICT, code, message)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::Taken { .. } => (StatusCode::CONFLICT, "taken"),
            StoreError::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
            StoreError::Revoked { .. } => (StatusCode::CONFLICT, "revoked"),
            StoreError::Late { .. } | StoreError::Database { .. } | StoreError::Open { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "store_failed"),
        };
        if status.is_server_error() {
            tracing::error!("admin: {error}");
        }
        Refusal::new(status, code, error.to_string())
    }
}

impl From<MaterialError> for Refusal {
    fn from(error: MaterialError) -> Self {
        tracing::error!("admin: {error}");
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "secret_failed",
            error.to_string(),
        )
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        tracing::error!("admin: {error}");
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "secret_failed",
            error.to_string(),
        )
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Member { member, why, help } => {
                Refusal::invalid(format!("`{member}`: {why}")).help(help)
            }
            KeyError::Limits(problems) => {
                Refusal::problems("the limits", problems.iter().map(Problem::from).collect())
            }
            KeyError::Store(error) => error.into(),
            KeyError::Material(error) => error.into(),
        }
    }
}

impl From<AskError> for Refusal {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Member { member, why, help } => {
                Refusal::invalid(format!("`{member}`: {why}")).help(help)
            }
            AskError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ErrorBody { error: self.view };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
