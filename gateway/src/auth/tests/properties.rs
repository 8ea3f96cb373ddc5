//! What holds for any request: the SDK's signer is the oracle, and no cut or damage of a body is taken for a good end.

use proptest::prelude::*;

use super::*;

/// The canonical form and the claim: two requests for which both agree are the same request.
fn meaning(request: &http::Request<()>) -> Option<(Vec<u8>, Option<HeaderValue>)> {
    let (parts, ()) = request.clone().into_parts();
    let query = Query::parse(parts.uri.query()).ok()?;
    let path = canonical::reencoded_path(parts.uri.path()).ok()?.unwrap_or_else(|| parts.uri.path().to_owned());
    let names: Vec<&str> =
        parts.headers.keys().map(names::HeaderName::as_str).filter(|name| *name != "authorization").collect();
    let mut text = canonical::request(&parts, &path, &query, &names.join(";"), "")?;
    text.extend(query.0.iter().filter(|(name, _)| name == "X-Amz-Signature").flat_map(|(_, value)| value.bytes()));
    Some((text, parts.headers.get("authorization").cloned()))
}

/// One bit of the target, a header's value or the method flipped; `None` when no HTTP library would pass it on.
fn flipped(request: &http::Request<()>, place: usize, bit: u8) -> Option<http::Request<()>> {
    let mut request = request.clone();
    let fields = request.headers().len() + 2;
    match place % fields {
        0 => {
            let mut bytes = request.method().as_str().as_bytes().to_vec();
            let at = (place / fields) % bytes.len();
            bytes[at] ^= 1 << bit;
            *request.method_mut() = http::Method::from_bytes(&bytes).ok()?;
        }
        1 => {
            let mut bytes = request.uri().to_string().into_bytes();
            let at = (place / fields) % bytes.len();
            bytes[at] ^= 1 << bit;
            *request.uri_mut() = String::from_utf8(bytes).ok()?.parse().ok()?;
        }
        header => {
            let value = request.headers_mut().values_mut().nth(header - 2)?;
            let mut bytes = value.as_bytes().to_vec();
            let at = (place / fields) % bytes.len().max(1);
            *bytes.get_mut(at)? ^= 1 << bit;
            *value = HeaderValue::from_bytes(&bytes).ok()?;
        }
    }
    Some(request)
}

fn target() -> impl Strategy<Value = String> {
    let encode =
        |text: String| percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let key = prop_oneof![
        "[ -~\u{e0}-\u{17f}/]{0,24}".prop_map(move |key| encode(key).replace("%2F", "/")),
        "[a-zA-Z0-9._~!$&'()*+,;=:@/-]{0,24}",
    ];
    let pair =
        ("[a-z-]{1,8}", "[ -~\u{e0}-\u{ff}]{0,8}").prop_map(move |(name, value)| format!("{name}={}", encode(value)));
    let query = proptest::collection::vec(prop_oneof![pair, "[a-z]{1,6}", "[a-z]{1,4}=[a-z+]{0,4}"], 0..4);
    (key, query).prop_map(|(key, query)| {
        let query = query.join("&");
        if query.is_empty() { format!("/b/{key}") } else { format!("/b/{key}?{query}") }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_sdk_signs_is_accepted_and_one_flipped_bit_is_not(
        target in target(),
        method in prop_oneof![Just("GET"), Just("PUT"), Just("POST"), Just("DELETE"), Just("HEAD")],
        meta in proptest::collection::vec(("x-amz-meta-[a-z]{1,6}", "[!-~]{0,3}[ -~]{0,12}"), 0..3),
        signer in prop_oneof![Just(&SIGNER), Just(&PRESIGNER)],
        flips in proptest::collection::vec((any::<usize>(), 0..8u8), 16),
    ) {
        let headers: Vec<(&str, &str)> = meta.iter().map(|(name, value)| (name.as_str(), value.trim())).collect();
        let request = signer.sign(method, &target, &headers, signer.nothing());
        prop_assert_eq!(ask(request.clone().map(|()| full(""))), Ok(Vec::new()));
        for (place, bit) in flips {
            let Some(other) = flipped(&request, place, bit) else { continue };
            if meaning(&other) != meaning(&request) {
                prop_assert!(ask(other.clone().map(|()| full(""))).is_err(), "{:?} became {:?}", request, other);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut anywhere, chunks give their bytes back; damaged anywhere, they never give more than was announced, and a
    /// good end means the announced length.
    #[test]
    fn chunks_come_apart_wherever_they_are_cut(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..6),
        cuts in 1..20usize,
        damage in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
    ) {
        let data = chunks.concat();
        let mut text: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
            .collect();
        text.extend_from_slice(b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        if let Some((at, byte)) = &damage {
            let at = at.index(text.len());
            text[at] = *byte;
        }
        let announced = vec!["x-amz-checksum-crc32".to_owned()];
        let mut decoder = chunked::Decoder::new(data.len() as u64, Some(announced), None);
        let mut read = Vec::new();
        let pushed = text.chunks(cuts).try_for_each(|piece| {
            decoder.push(Bytes::copy_from_slice(piece))?;
            while let Some(piece) = decoder.pop() {
                read.extend_from_slice(&piece);
            }
            Ok::<_, S3Error>(())
        });
        let ended = pushed.and_then(|()| decoder.finish());
        prop_assert!(read.len() <= data.len());
        match damage {
            None => prop_assert_eq!((ended.is_ok(), read), (true, data)),
            Some(_) => prop_assert!(ended.is_err() || read.len() == data.len()),
        }
    }
}
