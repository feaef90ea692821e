//! A failure in the words of each format: HTTP bodies and in-stream errors (wire.md 6.1).

use super::table::row;
use super::words::sentence;
use super::{Failure, FailureClass};
use crate::format::Format;
use crate::json::Writer;

/// `@type` of Google's error details begins with it.
const RPC: &str = "type.googleapis.com/google.rpc.";

impl Failure {
    /// The error body of a format.
    #[must_use]
    pub fn body(&self, format: Format, request_id: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut w = Writer::line(&mut out);
        self.write(&mut w, format, request_id);
        out
    }

    /// Writes the error document of a format: HTTP body and in-stream error alike.
    pub(crate) fn write(&self, w: &mut Writer<'_>, format: Format, request_id: &str) {
        match format {
            Format::Chat | Format::Responses => {
                w.object(|w| w.key("error").object(|w| self.openai(w, format)))
            }
            Format::Messages => w.object(|w| {
                w.key("type").str("error");
                w.key("error").object(|w| {
                    w.key("type").str(row(self.class).anthropic.1);
                    w.key("message").str(&sentence(self, format));
                });
                w.key("request_id").str(request_id);
            }),
            Format::Gemini => w.object(|w| w.key("error").object(|w| self.gemini(w))),
        }
    }

    fn openai(&self, w: &mut Writer<'_>, format: Format) {
        let (_, kind, code) = row(self.class).openai;
        let kind = match self.class {
            FailureClass::RateLimited if self.of_tokens => "tokens",
            _ => kind,
        };
        w.key("message").str(&sentence(self, format));
        w.key("type").str(kind);
        match &self.param {
            Some(param) => w.key("param").str(param),
            None => w.key("param").null(),
        }
        match self.code.or((!code.is_empty()).then_some(code)) {
            Some(code) => w.key("code").str(code),
            None => w.key("code").null(),
        }
    }

    fn gemini(&self, w: &mut Writer<'_>) {
        let (code, status) = row(self.class).gemini;
        w.key("code").u64(u64::from(code));
        let message = sentence(self, Format::Gemini);
        let wait = self.retry_after_seconds();
        match wait.filter(|_| self.should_retry()) {
            Some(seconds) => w
                .key("message")
                .str(&format!("{message} Please retry in {seconds}s.")),
            None => w.key("message").str(&message),
        }
        w.key("status").str(status);
        w.key("details").array(|w| {
            if let Some(seconds) = wait {
                detail(w, "RetryInfo", |w| {
                    w.key("retryDelay").str(&format!("{seconds}s"));
                });
            }
            match self.class {
                FailureClass::Auth => detail(w, "ErrorInfo", |w| {
                    w.key("reason").str("API_KEY_INVALID");
                    w.key("domain").str("googleapis.com");
                }),
                // Google's clients take a daily quota for final and a rate limit not.
                FailureClass::Billing | FailureClass::QuotaExhausted => detail(w, "QuotaFailure", |w| {
                    w.key("violations").array(|w| {
                        w.item().object(|w| {
                            w.key("quotaId").str("BudgetPerDay");
                            w.key("description").str(&message);
                        });
                    });
                }),
                _ => {}
            }
            if let Some(param) = &self.param {
                detail(w, "BadRequest", |w| {
                    w.key("fieldViolations").array(|w| {
                        w.item().object(|w| {
                            w.key("field").str(param);
                            w.key("description").str(&message);
                        });
                    });
                });
            }
        });
    }

    /// `response.error` of a failed Responses stream: a code from the list that Codex and the SDKs know.
    pub(crate) fn write_responses_error(&self, w: &mut Writer<'_>) {
        use FailureClass as C;
        let code = match self.class {
            C::RateLimited => "rate_limit_exceeded",
            C::Overloaded | C::NoChannel => "server_is_overloaded",
            C::ContextOverflow => "context_length_exceeded",
            C::QuotaExhausted | C::Billing | C::UpstreamBilling => "insufficient_quota",
            C::ContentBlocked => "invalid_prompt",
            _ => "server_error",
        };
        let message = sentence(self, Format::Responses);
        w.object(|w| {
            w.key("code").str(code);
            match self.retry_after_seconds() {
                // Codex reads the wait from the words.
                Some(seconds) if self.class == C::RateLimited => w
                    .key("message")
                    .str(&format!("{message} Please try again in {seconds}s.")),
                _ => w.key("message").str(&message),
            }
        });
    }
}

fn detail(w: &mut Writer<'_>, kind: &str, body: impl FnOnce(&mut Writer<'_>)) {
    w.item().object(|w| {
        w.key("@type").str(&format!("{RPC}{kind}"));
        body(w);
    });
}
