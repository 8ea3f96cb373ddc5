//! What is written: an object of every shape that S3 gives objects.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use holdall_conformance::Outcome;
use holdall_conformance::client::{Call, Client};
use holdall_conformance::payload::Payload;
use holdall_conformance::random::Random;
use holdall_conformance::wire::Body;
use http::Method;
use sha2::{Digest as _, Sha256};

use super::BUCKET;

const MIB: u64 = 1 << 20;
/// What S3 keeps of a PUT beside its bytes.
const HEADERS: [(&str, &str); 9] = [
    ("content-type", "text/x-chain; charset=utf-8"),
    ("cache-control", "max-age=77, private"),
    ("content-disposition", "attachment; filename=\"a b.txt\""),
    ("content-encoding", "x-none"),
    ("content-language", "eo"),
    ("expires", "Thu, 01 Dec 2044 16:00:00 GMT"),
    ("x-amz-meta-colour", "deep blue"),
    ("x-amz-meta-long", LONG),
    ("x-amz-tagging", "team=moves&where=every%20where&empty="),
];
/// Metadata that fills more than a row's own part.
const LONG: &str = match std::str::from_utf8(&[b'm'; 1500]) {
    Ok(text) => text,
    Err(_) => "",
};

/// The digest of each key's bytes, in hexadecimal.
pub(super) type Written = BTreeMap<String, String>;

/// Writes all of it. Sizes that are drawn come from the seed.
pub(super) async fn write(client: &mut Client, seed: u64, small: u64) -> Outcome<Written> {
    let (mut random, mut written) = (Random::new(seed, 0), Written::new());
    let all = &mut written;
    for number in 0..small {
        let size = random.below(64 << 10);
        put(client, all, &format!("small/{number:04}"), size, &[]).await?;
    }
    // Around the sizes where bytes are kept otherwise: packs, one block, what is read whole.
    for size in [0, 1, 64 << 10, (64 << 10) + 1, 256 << 10, (256 << 10) + 1, 5 * MIB + 3] {
        put(client, all, &format!("sized/{size}"), size, &[]).await?;
    }
    put(client, all, "with/headers", 1234, &HEADERS).await?;
    put(client, all, "with/headers/large", 5 * MIB + 77, &HEADERS).await?;
    put(client, all, "with/headers/empty", 0, &HEADERS).await?;
    put(client, all, "with/class", 100, &[("x-amz-storage-class", "STANDARD_IA")]).await?;
    put(client, all, "names//..//\u{e4}+%2F &<>'\"\u{1f9f3}", 4321, &[]).await?;
    for size in [4000, 3 * MIB + 1] {
        let key = format!("with/checksum/{size}");
        let sum = BASE64_STANDARD.encode(Sha256::digest(Payload::new(&key, 1, size).bytes(0, size as usize)));
        put(client, all, &key, size, &[("x-amz-checksum-sha256", &sum)]).await?;
    }
    in_parts(client, all, "parts/plain", &[5 * MIB + 1, 7 * MIB, 5 * MIB, 100], &HEADERS).await?;
    in_parts(client, all, "parts/composite", &[6 * MIB + 5, 5 * MIB, 1], &[("x-amz-checksum-algorithm", "CRC32C")])
        .await?;
    in_parts(client, all, "parts/full", &[5 * MIB, 5 * MIB + 9, 333], &[("x-amz-checksum-algorithm", "CRC64NVME")])
        .await?;
    in_parts(client, all, "parts/one", &[17], &[("x-amz-checksum-algorithm", "SHA1")]).await?;
    for (from, to) in
        [("with/headers/large", "copy/headers"), ("small/0000", "copy/small"), ("parts/plain", "copy/parts")]
    {
        client.copy(BUCKET, from, to, &[]).await.map_err(|error| format!("{to}: {error}"))?;
        written.extend(written.get(from).cloned().map(|digest| (to.to_owned(), digest)));
    }
    Ok(written)
}

async fn put(
    client: &mut Client,
    written: &mut Written,
    key: &str,
    size: u64,
    headers: &[(&str, &str)],
) -> Outcome<()> {
    let payload = Payload::new(key, 1, size);
    client.put(BUCKET, key, headers, Body::made(payload)).await.map_err(|error| format!("{key}: {error}"))?;
    written.insert(key.to_owned(), digest(payload));
    Ok(())
}

/// Parts have gaps between their numbers.
async fn in_parts(
    client: &mut Client,
    written: &mut Written,
    key: &str,
    sizes: &[u64],
    headers: &[(&str, &str)],
) -> Outcome<()> {
    let payload = Payload::new(key, 1, sizes.iter().sum());
    let upload = client.initiate(BUCKET, key, headers).await.map_err(|error| format!("{key}: {error}"))?;
    let (mut at, mut named) = (0, String::from("<CompleteMultipartUpload>"));
    for (size, number) in sizes.iter().zip((1..).step_by(3)) {
        let etag = client.part(BUCKET, key, &upload, number, Body::part(payload, at, *size)).await?;
        at += size;
        write!(named, "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")?;
    }
    named += "</CompleteMultipartUpload>";
    let call = Call {
        method: Method::POST,
        path: format!("/{BUCKET}/{key}"),
        query: &[("uploadId", &upload)],
        headers: &[],
        body: Body::Whole(named.into()),
    };
    client.fetch(call).await.map_err(|error| format!("{key}: {error}"))?;
    written.insert(key.to_owned(), digest(payload));
    Ok(())
}

fn digest(payload: Payload) -> String {
    const_hex::encode(Sha256::digest(payload.bytes(0, payload.len as usize)))
}
