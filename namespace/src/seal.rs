//! Secrets at rest: sealed with a key that is not in the index.
//!
//! AES-256-GCM-SIV, which a repeated nonce does not break, under a random nonce. What a secret belongs to is
//! authenticated with it, so that a row copied over another one's does not open. A sealed secret is the nonce
//! (12 bytes), then the ciphertext with its tag (16 bytes more than the secret).

use std::fmt;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::fault::Fault;

const NONCE: usize = 12;

/// Seals and opens secrets.
pub struct Sealer(Aes256GcmSiv);

impl Sealer {
    /// With this key, kept outside the index.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256GcmSiv::new(key.into()))
    }

    /// Seals a secret that belongs to `owner`.
    pub fn seal(&self, secret: &SecretString, owner: &str) -> Vec<u8> {
        self.seal_bytes(secret.expose_secret().as_bytes(), owner.as_bytes())
    }

    /// Seals bytes that belong to `owner`.
    pub fn seal_bytes(&self, bytes: &[u8], owner: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).expect("the system has randomness");
        let payload = Payload { msg: bytes, aad: owner };
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload).expect("it is shorter than 64 GiB");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what was sealed for `owner` with this key; anything else is damage.
    pub fn open(&self, sealed: &[u8], owner: &str) -> Result<SecretString, Fault> {
        let damaged = || Fault::Damaged(format!("the secret of `{owner}` does not open with this data folder's key"));
        let opened = Zeroizing::new(self.open_bytes(sealed, owner.as_bytes()).ok_or_else(damaged)?);
        std::str::from_utf8(&opened).map(SecretString::from).map_err(|_| damaged())
    }

    /// Opens what was sealed for `owner` with this key; anything else is none.
    pub fn open_bytes(&self, sealed: &[u8], owner: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        self.0.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: owner }).ok()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&[byte; 32])
    }

    #[test]
    fn a_secret_opens_for_its_owner_alone() {
        let sealed = sealer(1).seal(&"a secret".into(), "HKONE");
        assert_eq!(sealer(1).open(&sealed, "HKONE").unwrap().expose_secret(), "a secret");
        assert!(sealer(1).open(&sealed, "HKTWO").is_err());
        assert!(sealer(2).open(&sealed, "HKONE").is_err());
    }

    #[test]
    fn a_changed_or_cut_row_is_damage_and_nothing_worse() {
        let sealed = sealer(1).seal(&"a secret".into(), "HKONE");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(matches!(sealer(1).open(&changed, "HKONE"), Err(Fault::Damaged(_))), "byte {at}");
            assert!(matches!(sealer(1).open(&sealed[..at], "HKONE"), Err(Fault::Damaged(_))), "length {at}");
        }
    }

    #[test]
    fn a_seal_neither_shows_the_secret_nor_repeats() {
        let secret = SecretString::from("a long enough secret");
        let (one, other) = (sealer(1).seal(&secret, "HKONE"), sealer(1).seal(&secret, "HKONE"));
        assert_ne!(one, other);
        assert!(!one.windows(6).any(|window| b"a long".starts_with(window)));
        assert_eq!(format!("{:?}", sealer(1)), "Sealer");
    }
}
