//! Signing keys: derived once a day for each secret and scope, remembered, compared in constant time.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::claim::Scope;
use super::time::Timestamp;
use crate::limits::SIGNING_KEYS;

/// A key that signs for one secret, day, region and service.
#[derive(Clone)]
pub(super) struct SigningKey(Arc<SecretBox<[u8; 32]>>);

/// One for the process: what it answers follows from what is asked alone, so gateways may share it.
static DERIVED: LazyLock<Cache<[u8; 32], SigningKey>> = LazyLock::new(|| Cache::new(SIGNING_KEYS));

impl SigningKey {
    /// The key for this scope. The scope's date must be the timestamp's.
    pub(super) fn of(access_key_id: &str, secret: &SecretString, scope: &Scope<'_>, time: &Timestamp) -> Self {
        let secret = secret.expose_secret();
        let mut name = Sha256::new();
        for field in [secret, access_key_id, scope.date, scope.region, scope.service] {
            name.update((field.len() as u64).to_le_bytes());
            name.update(field);
        }
        let name: [u8; 32] = name.finalize().into();
        if let Some(known) = DERIVED.get(&name) {
            return known;
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.seconds).unwrap_or_default());
        let derived = generate_signing_key(secret, time, scope.region, scope.service);
        let bytes: [u8; 32] = derived.as_ref().try_into().expect("HMAC-SHA256 has 32 bytes");
        let key = Self(Arc::new(SecretBox::new(Box::new(bytes))));
        DERIVED.insert(name, key.clone());
        key
    }

    /// Whether this is what the key signs the string with. Takes as long for a good guess as for a bad one.
    pub(super) fn confirms(&self, string_to_sign: &str, signature: &str) -> bool {
        let ours = calculate_signature(self.0.expose_secret(), string_to_sign.as_bytes());
        ours.as_bytes().ct_eq(signature.as_bytes()).into()
    }
}
