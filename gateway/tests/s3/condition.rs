use crate::house::House;

const LONG_AGO: &str = "Sat, 29 Oct 1994 19:43:31 GMT";
const FAR_AHEAD: &str = "Sat, 29 Oct 2100 19:43:31 GMT";

/// Reads with If-Match or If-Unmodified-Since that do not hold are 412, with If-None-Match or If-Modified-Since that do
/// not hold 304 with the ETag; an ETag header beats the date of its kind.
#[tokio::test]
async fn reads_are_conditional() {
    let house = House::with_bucket().await;
    let etag = house.put("/abc/k").body("x").await.expect(200).header("etag").to_owned();
    for (headers, status) in [
        (vec![("if-match", etag.as_str())], 200),
        (vec![("if-match", etag.trim_matches('"'))], 200),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", "other")], 200),
        (vec![("if-modified-since", LONG_AGO)], 200),
        (vec![("if-modified-since", FAR_AHEAD)], 304),
        (vec![("if-unmodified-since", LONG_AGO)], 412),
        (vec![("if-unmodified-since", FAR_AHEAD)], 200),
        (vec![("if-match", etag.as_str()), ("if-unmodified-since", LONG_AGO)], 200),
        (vec![("if-none-match", "other"), ("if-modified-since", FAR_AHEAD)], 200),
    ] {
        for method in ["GET", "HEAD"] {
            let ask = headers.iter().fold(house.ask(method, "/abc/k"), |ask, (name, value)| ask.header(name, value));
            let answer = ask.await.expect(status);
            if status == 304 {
                assert_eq!((answer.header("etag"), answer.body.len()), (etag.as_str(), 0));
            }
        }
    }
}

/// Writes with If-None-Match: `*` only create, with If-Match only replace what the client has seen; the commit decides.
/// If-Match on a key without an object is NoSuchKey. If-None-Match takes ETags too, which AWS does not. Dates are
/// NotImplemented on writes.
#[tokio::test]
async fn writes_are_conditional() {
    let house = House::with_bucket().await;
    let put = |name: &'static str, value: &str| house.put("/abc/k").header(name, value).body("x");
    put("if-match", "*").await.refused(404, "NoSuchKey");
    put("if-match", "\"other\"").await.refused(404, "NoSuchKey");
    let etag = put("if-none-match", "*").await.expect(200).header("etag").to_owned();
    let failed = put("if-none-match", "*").await.refused(412, "PreconditionFailed");
    assert_eq!(failed.element("Condition"), "If-None-Match");
    put("if-none-match", &etag).await.refused(412, "PreconditionFailed");
    put("if-none-match", "\"other\"").await.expect(200);
    put("if-match", "\"other\"").await.refused(412, "PreconditionFailed");
    put("if-match", &etag).await.expect(200);
    put("if-match", "*").await.expect(200);
    put("if-modified-since", LONG_AGO).await.refused(501, "NotImplemented");
    let copy = house.put("/abc/k").header("x-amz-copy-source", "abc/k").header("x-amz-metadata-directive", "REPLACE");
    copy.header("if-none-match", "*").await.refused(412, "PreconditionFailed");
    house.delete("/abc/k").header("if-match", "\"other\"").await.refused(412, "PreconditionFailed");
    house.delete("/abc/k").header("if-match", &etag).await.expect(204);
}
