//! What an Authorization header or a presigned query claims: whose key, for what, over which headers, with what
//! signature.

use std::fmt::Display;

use super::time::Timestamp;
use crate::error::{Code, S3Error};
use crate::limits::MAX_CREDENTIAL;

/// Where a claim stands; it decides how its faults are worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The Authorization header.
    Header,
    /// The query of a presigned URL.
    Query,
}

/// What a key is derived for.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// A claim, its parts taken apart but not yet believed.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) place: Place,
    pub(super) access_key_id: &'a str,
    pub(super) scope: Scope<'a>,
    /// `host;x-amz-date`, as sent.
    pub(super) signed_headers: &'a str,
    pub(super) signature: &'a str,
    pub(super) time: Timestamp,
    /// Seconds that a presigned URL lives.
    pub(super) expires: Option<u64>,
}

impl Place {
    /// A claim that does not read or names something else than this endpoint.
    pub(super) fn malformed(self, fact: impl Display) -> S3Error {
        match self {
            Self::Header => S3Error::with(
                Code::AuthorizationHeaderMalformed,
                format!("The authorization header is malformed; {fact}"),
            ),
            Self::Query => S3Error::with(
                Code::AuthorizationQueryParametersError,
                format!("Error parsing the X-Amz-Credential parameter; {fact}"),
            ),
        }
    }

    /// Takes `AKID/20130524/us-east-1/s3/aws4_request` apart.
    pub(super) fn credential(self, text: &str) -> Result<(&str, Scope<'_>), S3Error> {
        let mut parts = text.rsplitn(5, '/');
        let mut part = || parts.next().ok_or_else(|| self.no_credential());
        let (terminal, service, region, date, id) = (part()?, part()?, part()?, part()?, part()?);
        let dated = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
        if id.is_empty() || !dated || text.len() > MAX_CREDENTIAL {
            return Err(self.no_credential());
        }
        if terminal != "aws4_request" {
            return Err(
                self.malformed(format_args!("incorrect terminal \"{terminal}\". This endpoint uses \"aws4_request\"."))
            );
        }
        Ok((id, Scope { date, region, service }))
    }

    fn no_credential(self) -> S3Error {
        self.malformed("the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
    }
}

impl Scope<'_> {
    /// As it is signed.
    pub(super) fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

impl Claim<'_> {
    /// Refuses a scope for another region, service or day.
    pub(super) fn check_scope(&self, region: &str, service: &str) -> Result<(), S3Error> {
        let Scope { date, region: theirs, service: their_service } = &self.scope;
        if *theirs != region {
            let fact = format_args!("the region '{theirs}' is wrong; expecting '{region}'");
            return Err(self.place.malformed(fact).detail("Region", region));
        }
        if *their_service != service {
            return Err(self.place.malformed(format_args!(
                "incorrect service \"{their_service}\". This endpoint belongs to \"{service}\"."
            )));
        }
        if *date == self.time.date() {
            return Ok(());
        }
        Err(match self.place {
            Place::Query => self.place.malformed(format_args!(
                "Invalid credential date \"{date}\". This date is not the same as X-Amz-Date: \"{}\".",
                self.time.date()
            )),
            Place::Header => S3Error::with(
                Code::SignatureDoesNotMatch,
                format!(
                    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                     '{date}' != '{}', from '{}'.",
                    self.time.date(),
                    self.time.text()
                ),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_has_five_parts_and_the_key_id_may_hold_slashes() {
        let parse = |text: &'static str| Place::Header.credential(text);
        let (id, scope) = parse("A/B/20130524/us-east-1/s3/aws4_request").unwrap();
        assert_eq!((id, scope.text().as_str()), ("A/B", "20130524/us-east-1/s3/aws4_request"));
        for bad in ["", "A", "A/20130524/r/s3", "/20130524/r/s3/aws4_request", "A/2013052/r/s3/aws4_request"] {
            assert_eq!(parse(bad).unwrap_err().code, Code::AuthorizationHeaderMalformed, "{bad}");
        }
        let error = parse("A/20130524/r/s3/aws3_request").unwrap_err();
        assert!(error.message.ends_with("incorrect terminal \"aws3_request\". This endpoint uses \"aws4_request\"."));
    }
}
