//! Byte ranges of reads and of copies' sources.

use std::ops::Range;

use crate::error::{Code, S3Error};

/// What a Range header asks of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: no range, one that makes no sense, or several, which S3 does not do.
    Whole,
    /// These bytes, within the object.
    Part(Range<u64>),
}

/// Reads a Range header against an object's size.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html#API_GetObject_RequestSyntax>
pub fn of_read(header: Option<&str>, size: u64) -> Result<Wanted, S3Error> {
    let Some(asked) = header.and_then(parse) else { return Ok(Wanted::Whole) };
    let range = match asked {
        Asked::Last(count) => size.saturating_sub(count)..size,
        Asked::From(first) => first..size,
        Asked::Within(first, last) => first..size.min(last.saturating_add(1)),
    };
    if range.is_empty() {
        return Err(S3Error::new(Code::InvalidRange)
            .detail("RangeRequested", header.unwrap_or_default())
            .detail("ActualObjectSize", size.to_string()));
    }
    Ok(Wanted::Part(range))
}

/// Reads `x-amz-copy-source-range`, which must be exact and inside the source.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>
pub fn of_source(header: Option<&str>, size: u64) -> Result<Range<u64>, S3Error> {
    const NAME: &str = "x-amz-copy-source-range";
    let Some(header) = header else { return Ok(0..size) };
    let Some(Asked::Within(first, last)) = parse(header) else {
        let message = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy";
        return Err(S3Error::argument(NAME, header, message));
    };
    if last >= size {
        let message = format!("Range specified is not valid for source object of size: {size}");
        return Err(S3Error::with(Code::InvalidRange, message).detail("RangeRequested", header));
    }
    Ok(first..last + 1)
}

enum Asked {
    From(u64),
    Last(u64),
    Within(u64, u64),
}

fn parse(header: &str) -> Option<Asked> {
    let (unit, range) = header.trim().split_once('=')?;
    // RFC 9110, 14.1: units are read in any case.
    let (first, last) = range.split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", last) => Some(Asked::Last(number(last)?)),
        (first, "") => Some(Asked::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::Within(first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_is_never_outside_its_object(header in "(bytes=)?[0-9]{0,20}-?[0-9]{0,20}", size: u64) {
            if let Ok(Wanted::Part(range)) = of_read(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
            if let Ok(range) = of_source(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }

    #[test]
    fn reads_take_one_range() {
        let part = |range| Ok(Wanted::Part(range));
        let (whole, refused) = (Ok(Wanted::Whole), Err(Code::InvalidRange));
        for (header, size, expected) in [
            ("bytes=4-7", 11, part(4..8)),
            ("BYTES=4-", 11, part(4..11)),
            ("octets=4-", 11, whole.clone()),
            ("bytes=4-", 11, part(4..11)),
            ("bytes=-7", 11, part(4..11)),
            ("bytes=-70", 11, part(0..11)),
            ("bytes=0-999", 11, part(0..11)),
            ("bytes=10-10", 11, part(10..11)),
            ("bytes=0-18446744073709551615", 11, part(0..11)),
            ("bytes=0-99999999999999999999999", 11, part(0..11)),
            (" bytes=0-0 ", 11, part(0..1)),
            ("bytes=11-", 11, refused.clone()),
            ("bytes=40-50", 11, refused.clone()),
            ("bytes=-0", 11, refused.clone()),
            ("bytes=0-", 0, refused.clone()),
            ("bytes=-5", 0, refused.clone()),
            ("bytes=99999999999999999999999-", 11, refused),
            ("bytes=7-4", 11, whole.clone()),
            ("bytes=0-1,3-4", 11, whole.clone()),
            ("bytes=a-b", 11, whole.clone()),
            ("bytes=+1-2", 11, whole.clone()),
            ("bytes=", 11, whole.clone()),
            ("bytes=-", 11, whole.clone()),
            ("bites=0-1", 11, whole.clone()),
            ("", 11, whole),
        ] {
            assert_eq!(of_read(Some(header), size).map_err(|error| error.code), expected, "{header} of {size}");
        }
        assert_eq!(of_read(None, 5), Ok(Wanted::Whole));
    }

    #[test]
    fn copies_want_exact_ranges() {
        for (header, expected) in [
            ("bytes=0-4", Ok(0..5)),
            ("bytes=4-4", Ok(4..5)),
            ("bytes=0-21", Err(Code::InvalidRange)),
            ("0-2", Err(Code::InvalidArgument)),
            ("bytes=0", Err(Code::InvalidArgument)),
            ("bytes=hello-world", Err(Code::InvalidArgument)),
            ("bytes=0-bar", Err(Code::InvalidArgument)),
            ("bytes=0-", Err(Code::InvalidArgument)),
            ("bytes=-3", Err(Code::InvalidArgument)),
            ("bytes=0-2,3-5", Err(Code::InvalidArgument)),
            ("bytes=3-1", Err(Code::InvalidArgument)),
        ] {
            assert_eq!(of_source(Some(header), 5).map_err(|error| error.code), expected, "{header}");
        }
        assert_eq!(of_source(None, 5), Ok(0..5));
    }
}
