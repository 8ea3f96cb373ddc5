//! Signatures in the Authorization header.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html>

use http::HeaderMap;

use super::claim::{Claim, Place};
use super::time::Timestamp;
use crate::error::{Code, S3Error};

/// Takes apart what follows `AWS4-HMAC-SHA256 `.
pub(super) fn claim<'a>(components: &'a str, headers: &HeaderMap) -> Result<Claim<'a>, S3Error> {
    let [credential, signed_headers, signature] = three(components).ok_or_else(|| {
        Place::Header
            .malformed("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
    })?;
    let (access_key_id, scope) = Place::Header.credential(credential)?;
    Ok(Claim {
        place: Place::Header,
        access_key_id,
        scope,
        signed_headers,
        signature,
        time: time(headers)?,
        expires: None,
    })
}

/// `Credential=…, SignedHeaders=…, Signature=…` in any order, each once and nothing else.
fn three(components: &str) -> Option<[&str; 3]> {
    let mut found = [None; 3];
    for component in components.split(',') {
        let (name, value) = component.trim().split_once('=')?;
        let place = ["Credential", "SignedHeaders", "Signature"].iter().position(|known| *known == name)?;
        if found[place].replace(value).is_some() {
            return None;
        }
    }
    let [Some(credential), Some(signed_headers), Some(signature)] = found else { return None };
    Some([credential, signed_headers, signature])
}

/// When the client signed, as it says: `x-amz-date`, else `Date`.
fn time(headers: &HeaderMap) -> Result<Timestamp, S3Error> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let time = match text("x-amz-date") {
        Some(date) => Timestamp::parse(date),
        None => text("date").and_then(|date| Timestamp::parse(date).or_else(|| Timestamp::parse_http(date))),
    };
    time.ok_or_else(|| {
        S3Error::with(Code::AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_come_in_any_order_with_any_spaces_each_once() {
        let good = Some(["c", "s", "g"]);
        for (text, wanted) in [
            ("Credential=c,SignedHeaders=s,Signature=g", good),
            ("Signature=g,   SignedHeaders=s ,Credential=c  ", good),
            ("Credential=c,SignedHeaders=s", None),
            ("Credential=c,SignedHeaders=s,Signature=g,Signature=g", None),
            ("Credential=c,Credential=d,SignedHeaders=s,Signature=g", None),
            ("Credential=c,SignedHeaders=s,Signature=g,Other=x", None),
            ("Credential=c;SignedHeaders=s;Signature=g", None),
            ("credential=c,SignedHeaders=s,Signature=g", None),
            ("Credential=c,SignedHeaders=s,Signature=g,", None),
            ("", None),
        ] {
            assert_eq!(three(text), wanted, "{text}");
        }
    }
}
