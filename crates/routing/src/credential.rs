//! Transparent mode: the caller's own credential goes to the provider that the model names, and to nobody else.

use opm_config::Vendor;

/// The credential obviously belongs to another provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Whose it looks like.
    pub looks_like: Vendor,
    /// Where it would have gone.
    pub wanted: Vendor,
}

/// Whose credential this looks like; `None` if its shape says nothing.
#[must_use]
pub fn provider_of(credential: &str) -> Option<Vendor> {
    if credential.starts_with("sk-ant-") {
        Some(Vendor::Anthropic)
    } else if credential.starts_with("AIza") {
        Some(Vendor::Gemini)
    } else if credential.starts_with("sk-") {
        Some(Vendor::OpenAi)
    } else {
        None
    }
}

/// Refuses to show a credential to a provider that it contradicts.
///
/// # Errors
/// The shapes contradict each other.
pub fn check_credential(credential: &str, wanted: Vendor) -> Result<(), Mismatch> {
    match provider_of(credential) {
        Some(looks_like) if looks_like != wanted => Err(Mismatch { looks_like, wanted }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_to_its_own_provider_only() {
        assert!(check_credential("sk-ant-api03-x", Vendor::OpenAi).is_err());
        assert!(check_credential("sk-proj-x", Vendor::OpenAi).is_ok());
        assert!(check_credential("sk-x", Vendor::Anthropic).is_err());
        assert!(check_credential("AIzaSy", Vendor::Gemini).is_ok());
        assert!(check_credential("anything", Vendor::Gemini).is_ok());
    }
}
