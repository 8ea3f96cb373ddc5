//! Signatures in the query: presigned URLs.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>

use super::claim::{Claim, Place};
use super::query::Query;
use super::time::Timestamp;
use crate::error::{Code, S3Error};
use crate::limits::MAX_EXPIRES;

/// Takes the six parameters apart.
pub(super) fn claim<'a>(query: &'a Query<'_>) -> Result<Claim<'a>, S3Error> {
    let needed = |name: &str| query.once(name)?.filter(|value| !value.is_empty()).ok_or_else(incomplete);
    let algorithm = needed("X-Amz-Algorithm")?;
    let credential = needed("X-Amz-Credential")?;
    let signature = needed("X-Amz-Signature")?;
    let date = needed("X-Amz-Date")?;
    let signed_headers = needed("X-Amz-SignedHeaders")?;
    let expires = needed("X-Amz-Expires")?;
    if algorithm != "AWS4-HMAC-SHA256" {
        return Err(refused("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let (access_key_id, scope) = Place::Query.credential(credential)?;
    let time = Timestamp::parse(date)
        .ok_or_else(|| refused("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?;
    Ok(Claim {
        place: Place::Query,
        access_key_id,
        scope,
        signed_headers,
        signature,
        time,
        expires: Some(lifetime(expires)?),
    })
}

fn lifetime(text: &str) -> Result<u64, S3Error> {
    if text.strip_prefix('-').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(refused("X-Amz-Expires must be non-negative"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused("X-Amz-Expires should be a number"));
    }
    match text.parse() {
        Ok(0) => Err(refused("X-Amz-Expires must be at least 1 second")),
        Ok(seconds @ 1..=MAX_EXPIRES) => Ok(seconds),
        _ => Err(refused(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        )),
    }
}

fn incomplete() -> S3Error {
    refused(
        "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
         X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
    )
}

fn refused(message: &str) -> S3Error {
    S3Error::with(Code::AuthorizationQueryParametersError, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lifetimes beyond a week, negative ones and nonsense made presigned URLs that never end (s3s#645, s3s#616).
    #[test]
    fn s9_a_lifetime_is_a_number_of_seconds_up_to_a_week() {
        assert_eq!(lifetime("1"), Ok(1));
        assert_eq!(lifetime("604800"), Ok(604_800));
        for bad in ["0", "604801", "-1", "1e18", "99999999999999999999", "+5", " 5", "5.0", "0x5", "-", "٣"] {
            let error = lifetime(bad).unwrap_err();
            assert_eq!(error.code, Code::AuthorizationQueryParametersError, "{bad}");
        }
    }
}
