//! Where a web server's files are, and what is shown to it.

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use http::header::{AUTHORIZATION, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use object_store::client::HttpRequest;

use crate::address::Address;
use crate::connect::Credentials;
use crate::error::SiloError;
use crate::web::{
    Checksum, Client, Codes, Echo, Entry, KnownBy, Learned, Others, Place, Service, Wanted, Words, crc32c, is_loopback,
};

pub(crate) static WORDS: Words = words("http");

/// How files on web servers are spoken of: nothing goes with them, and whoever has them says nothing of them.
pub(crate) const fn words(family: &'static str) -> Words {
    Words {
        family,
        codes: Codes { header: None, throttled: &[], full: &[], missing: &[], archived: &[], taken: &[(412, None)] },
        put: &[],
        delete: &[],
        description: HeaderName::from_static("x-holdall"),
        exclusive: (IF_NONE_MATCH, "*"),
        exclusive_shown: "If-None-Match",
        checksum: Checksum { header: HeaderName::from_static("content-md5"), of: crc32c },
        echo: Echo { algorithm: CrcAlgorithm::Crc32Iscsi, spell: |_| String::new(), read: |_| None },
        version: None,
        no_etag: "\"00000000000000000000000000000000\"",
        others: Others {
            known_by: KnownBy::File,
            files: true,
            // What a server compresses on the way has another length each time.
            read: &[("accept-encoding", "identity")],
            user: "x-holdall-none-",
            class: "x-holdall-none",
            usual: "",
            tags: None,
            archived: &[],
            restored: |_| None,
        },
    }
}

/// Files behind plain HTTP.
pub(crate) struct Plain {
    words: &'static Words,
    place: Place,
    authorization: Option<HeaderValue>,
}

impl Plain {
    /// What is below a path of a server.
    pub(crate) fn new(
        words: &'static Words,
        origin: &str,
        path: &str,
        credentials: &Credentials,
    ) -> Result<Box<Self>, String> {
        let authorization = authorization(credentials)?;
        if authorization.is_some() && origin.starts_with("http://") && !is_loopback(origin) {
            return Err("credentials would be sent unencrypted; use `https:`".to_owned());
        }
        Ok(Box::new(Self { words, place: Place::new(origin.to_owned(), true, path), authorization }))
    }
}

/// The site an address names; touches nothing.
pub(super) fn service(address: &Address, credentials: &Credentials) -> Result<Box<dyn Service>, String> {
    let Address::Http { origin, path, .. } = address else { return Err("not an address of a web server".to_owned()) };
    Ok(Plain::new(&WORDS, origin, path, credentials)?)
}

/// <https://www.rfc-editor.org/rfc/rfc7617>, <https://www.rfc-editor.org/rfc/rfc6750>
fn authorization(credentials: &Credentials) -> Result<Option<HeaderValue>, String> {
    let text = match credentials {
        Credentials::Ambient => return Ok(None),
        Credentials::Login { user, password } => {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
        }
        Credentials::Token(token) => format!("Bearer {token}"),
        _ => return Err("a web server takes a user and a password, or a token".to_owned()),
    };
    let mut value =
        HeaderValue::from_str(&text).map_err(|_| "a token of characters that no header holds".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[async_trait]
impl Service for Plain {
    fn words(&self) -> &'static Words {
        self.words
    }

    fn place(&self) -> &Place {
        &self.place
    }

    async fn authorize(&self, request: &mut HttpRequest) -> Result<(), String> {
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        Ok(())
    }

    /// Folders are listed, each by itself.
    async fn list(&self, _client: &Client, _wanted: Wanted<'_>) -> Result<Vec<Entry>, SiloError> {
        Err(SiloError::not_done("a web server has no listing of all names"))
    }

    async fn learn(&self, _client: &Client, _key: &str, _answer: &HeaderMap) -> Result<Learned, SiloError> {
        Ok(Learned::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Ask;
    use std::path::Path;

    fn made(url: &str, credentials: &Credentials) -> Result<Box<dyn Service>, String> {
        service(&Address::parse(url, Path::new("/")).unwrap(), credentials)
    }

    #[test]
    fn urls_are_spelled_as_paths() {
        let url = |address: &str, key: &str| {
            let made = made(address, &Credentials::Ambient).unwrap();
            let key = format!("{}{key}", made.place().prefix);
            made.place().url(&Ask::new(http::Method::GET, &key))
        };
        assert_eq!(url("http://host:8080", ""), "http://host:8080/");
        assert_eq!(url("https://host/a%20b/", "c/ü?#%"), "https://host/a%20b/c/%C3%BC%3F%23%25");
        assert_eq!(url("https://host/x", ""), "https://host/x/");
    }

    #[test]
    fn a_password_is_sent_to_nobody_who_listens() {
        let login = Credentials::Login { user: "u".to_owned(), password: "SECRET".to_owned() };
        assert!(made("http://127.0.0.1:1/x", &login).is_ok() && made("https://host/x", &login).is_ok());
        let refused = made("http://host/x", &login).map(drop).unwrap_err();
        assert_eq!(refused, "credentials would be sent unencrypted; use `https:`");
        let refused = made("https://host", &Credentials::Token("SECRET\n".to_owned())).map(drop).unwrap_err();
        assert_eq!(refused, "a token of characters that no header holds");
        assert!(made("https://host", &Credentials::AccountKey("SECRET".to_owned())).is_err());
    }

    #[test]
    fn a_login_and_a_token_are_headers() {
        let told =
            |credentials: &Credentials| authorization(credentials).unwrap().unwrap().to_str().unwrap().to_owned();
        let login = Credentials::Login { user: "Aladdin".to_owned(), password: "open sesame".to_owned() };
        assert_eq!(told(&login), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(told(&Credentials::Token("t".to_owned())), "Bearer t");
    }
}
