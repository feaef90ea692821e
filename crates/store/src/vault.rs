//! Provider keys at rest: XChaCha20-Poly1305 under a key derived from the master key, bound to their channel.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use opm_core::{Secret, client_key, hint};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::material::{MaterialError, derive, hex, random};

/// Named in the associated data, so that another scheme can follow.
const SCHEME: &str = "opm provider key 1";

/// Seals and opens provider keys. Prints nothing of its key.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    fingerprint_key: Zeroizing<[u8; 32]>,
    id: String,
}

/// A provider key that only the vault of the same master key can open, and only for the same channel.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Id of the master key.
    pub master_id: String,
    /// Random, never used twice.
    pub nonce: [u8; 24],
    /// The secret, encrypted and authenticated.
    pub ciphertext: Vec<u8>,
    /// What may be shown: prefix and last four characters.
    pub hint: String,
    /// The same for the same secret under the same master key, tells nothing else.
    pub fingerprint: String,
}

/// Why a provider key could not be sealed or opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The key was sealed with another master key.
    #[error(
        "provider key {hint} of channel `{channel}` was sealed under master key {sealed}, this is {ours}: bring the former OPM_MASTER_KEY back or enter the provider key anew"
    )]
    OtherMaster {
        /// The channel.
        channel: String,
        /// Which provider key.
        hint: String,
        /// Id of the master key it was sealed under.
        sealed: String,
        /// Id of the master key at hand.
        ours: String,
    },
    /// The key was changed, or belongs to another channel.
    #[error(
        "provider key {hint} does not belong to channel `{channel}` or was altered in the store: enter it anew"
    )]
    Altered {
        /// The channel.
        channel: String,
        /// Which provider key.
        hint: String,
    },
    /// The secret cannot be encrypted: it is larger than 256 GiB.
    #[error("provider key {hint} of channel `{channel}` cannot be encrypted")]
    Unfit {
        /// The channel.
        channel: String,
        /// Which provider key.
        hint: String,
    },
    /// The operating system gave no random bytes.
    #[error(transparent)]
    Random(#[from] MaterialError),
}

impl Vault {
    /// The vault of a master key. The same text gives the same vault.
    ///
    /// # Errors
    /// [`MaterialError`] if the keys cannot be derived.
    pub(crate) fn new(master: &[u8]) -> Result<Self, MaterialError> {
        let key = derive(master, "opm provider keys 1")?;
        Ok(Vault {
            cipher: XChaCha20Poly1305::new((&*key).into()),
            fingerprint_key: derive(master, "opm provider key fingerprints 1")?,
            id: hex(derive(master, "opm master key id 1")?.iter().take(4)),
        })
    }

    /// Id of the master key: not secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a provider key for `channel` with a random nonce.
    ///
    /// # Errors
    /// [`VaultError::Random`] if the operating system has no random bytes.
    pub fn seal(&self, channel: &str, secret: &Secret) -> Result<SealedSecret, VaultError> {
        self.seal_with(random()?, channel, secret)
    }

    /// Seals a provider key for `channel`. A nonce must never be given twice.
    ///
    /// # Errors
    /// [`VaultError::Unfit`].
    pub fn seal_with(
        &self,
        nonce: [u8; 24],
        channel: &str,
        secret: &Secret,
    ) -> Result<SealedSecret, VaultError> {
        let mut sealed = SealedSecret {
            master_id: self.id.clone(),
            nonce,
            ciphertext: Vec::new(),
            hint: hint(secret.expose()),
            fingerprint: self.fingerprint(secret),
        };
        let aad = associated_data(channel, &sealed);
        let payload = Payload {
            msg: secret.expose().as_bytes(),
            aad: &aad,
        };
        let encrypted = self.cipher.encrypt(&XNonce::from(nonce), payload);
        sealed.ciphertext = encrypted.map_err(|_| VaultError::Unfit {
            channel: channel.to_owned(),
            hint: sealed.hint.clone(),
        })?;
        Ok(sealed)
    }

    /// Opens a provider key of `channel`.
    ///
    /// # Errors
    /// [`VaultError::OtherMaster`]; [`VaultError::Altered`] if anything about it was changed or it was sealed for another channel.
    pub fn open(&self, channel: &str, sealed: &SealedSecret) -> Result<Secret, VaultError> {
        if sealed.master_id != self.id {
            return Err(VaultError::OtherMaster {
                channel: channel.to_owned(),
                hint: sealed.hint.clone(),
                sealed: sealed.master_id.clone(),
                ours: self.id.clone(),
            });
        }
        let altered = || VaultError::Altered {
            channel: channel.to_owned(),
            hint: sealed.hint.clone(),
        };
        let aad = associated_data(channel, sealed);
        let payload = Payload {
            msg: &sealed.ciphertext,
            aad: &aad,
        };
        let opened = self.cipher.decrypt(&XNonce::from(sealed.nonce), payload);
        let bytes = Zeroizing::new(opened.map_err(|_| altered())?);
        let text = std::str::from_utf8(&bytes).map_err(|_| altered())?;
        Ok(Secret::new(text.to_owned()))
    }

    /// Keyed, so that a stolen store does not let anybody try secrets against it.
    fn fingerprint(&self, secret: &Secret) -> String {
        hex(client_key::mac(&self.fingerprint_key, secret.expose())
            .iter()
            .take(8))
    }
}

/// Everything that stands in clear beside the ciphertext, and the channel. Each part has its length in front: no two lists of parts
/// give the same bytes.
fn associated_data(channel: &str, sealed: &SealedSecret) -> Vec<u8> {
    let parts = [
        SCHEME,
        &sealed.master_id,
        channel,
        &sealed.hint,
        &sealed.fingerprint,
    ];
    let mut data = Vec::new();
    for part in parts {
        data.extend((part.len() as u64).to_be_bytes());
        data.extend(part.as_bytes());
    }
    data
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({})", self.id)
    }
}

impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedSecret({} {})", self.hint, self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "sk-ant-api03-0123456789abcdef91c0";

    fn vault(master: &str) -> Vault {
        Vault::new(master.as_bytes()).unwrap()
    }

    fn sealed() -> SealedSecret {
        vault("one").seal("claude", &Secret::new(TEXT.into())).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_again() {
        let opened = vault("one").open("claude", &sealed()).unwrap();
        assert_eq!(opened.expose(), TEXT);
    }

    #[test]
    fn a_sealed_secret_shows_a_hint_only() {
        let sealed = sealed();
        assert_eq!(sealed.hint, "sk-ant-…91c0");
        assert!(!format!("{sealed:?} {:?}", vault("one")).contains("0123456789"));
        assert!(!sealed.ciphertext.windows(8).any(|part| part == b"01234567"));
    }

    #[test]
    fn the_same_secret_never_has_the_same_ciphertext_but_the_same_fingerprint() {
        let (one, other) = (sealed(), sealed());
        assert!(one.nonce != other.nonce && one.ciphertext != other.ciphertext);
        assert_eq!(one.fingerprint, other.fingerprint);
        let elsewhere = vault("two").seal("claude", &Secret::new(TEXT.into())).unwrap();
        assert_ne!(one.fingerprint, elsewhere.fingerprint);
    }

    #[test]
    fn a_secret_moved_to_another_channel_does_not_open() {
        let error = vault("one").open("claude2", &sealed()).unwrap_err();
        assert!(matches!(error, VaultError::Altered { .. }));
    }

    #[test]
    fn another_master_key_is_named() {
        let error = vault("two").open("claude", &sealed()).unwrap_err();
        assert!(error.to_string().contains(vault("one").id()), "{error}");
        let mut claimed = sealed();
        claimed.master_id = vault("two").id;
        assert!(matches!(
            vault("two").open("claude", &claimed),
            Err(VaultError::Altered { .. })
        ));
    }

    #[test]
    fn nothing_about_a_sealed_secret_can_be_altered() {
        let changes: [fn(&mut SealedSecret); 5] = [
            |sealed| sealed.nonce[0] ^= 1,
            |sealed| sealed.ciphertext[0] ^= 1,
            |sealed| sealed.ciphertext.truncate(10),
            |sealed| sealed.hint = "sk-…".to_owned(),
            |sealed| sealed.fingerprint.push('0'),
        ];
        for change in changes {
            let mut altered = sealed();
            change(&mut altered);
            assert!(vault("one").open("claude", &altered).is_err(), "{altered:?}");
        }
    }
}
