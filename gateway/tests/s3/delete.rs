use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Digest as _;

use crate::house::{Answer, House};

async fn delete(house: &House, body: &str) -> Answer {
    let md5 = STANDARD.encode(md5::Md5::digest(body.as_bytes()));
    house.post("/abc?delete").header("content-md5", md5).body(body.to_owned()).await
}

fn list(keys: &[&str]) -> String {
    let object = |key: &&str| format!("<Object><Key>{key}</Key></Object>");
    keys.iter().map(object).collect()
}

/// Deleting is 204 whether or not there was an object.
#[tokio::test]
async fn deleting_twice_is_deleting() {
    let house = House::with_bucket().await;
    house.put("/abc/k").body("x").await.expect(200);
    house.delete("/abc/k").await.expect(204);
    house.delete("/abc/k").await.expect(204);
    house.get("/abc/k").await.refused(404, "NoSuchKey");
}

/// DeleteObjects says of each key what became of it, in the request's order, keys taken exactly; `Quiet` leaves the
/// successes out. A version other than `null`, an ETag that does not match and a key that is none fail alone.
#[tokio::test]
async fn many_are_deleted_at_once() {
    let house = House::with_bucket().await;
    for key in ["a", "b", "%20c%20", "d", "e"] {
        house.put(&format!("/abc/{key}")).body("x").await.expect(200);
    }
    let more = "<Object><Key>d</Key><VersionId>7</VersionId></Object><Object><Key>e</Key><ETag>other</ETag></Object>";
    let long = "x".repeat(1025);
    let body = format!("<Delete>{}{more}{}</Delete>", list(&["b", " c ", "a", "none"]), list(&[&long]));
    let answer = delete(&house, &body).await.expect(200);
    assert_eq!(answer.elements("Key"), ["b", " c ", "a", "none", "d", "e", &long]);
    assert_eq!(answer.elements("Code"), ["NoSuchVersion", "PreconditionFailed", "KeyTooLongError"]);
    assert_eq!(house.get("/abc").await.expect(200).elements("Key"), ["d", "e"]);
    let body = "<Delete><Quiet>true</Quiet><Object><Key>d</Key><VersionId>null</VersionId></Object></Delete>";
    assert!(delete(&house, body).await.expect(200).elements("Key").is_empty());
    assert_eq!(house.get("/abc").await.expect(200).elements("Key"), ["e"]);
}

/// DeleteObjects needs Content-MD5 or a checksum of its body, takes 1,000 keys, and is MalformedXML with more, with
/// none, with a document type, or with an element that S3 does not know; then nothing is deleted.
#[tokio::test]
async fn a_list_that_is_none_deletes_nothing() {
    let house = House::with_bucket().await;
    house.put("/abc/a").await.expect(200);
    let good = format!("<Delete>{}</Delete>", list(&["a"]));
    house.post("/abc?delete").body(good.clone()).await.refused(400, "InvalidRequest");
    house
        .post("/abc?delete")
        .header("content-md5", "rL0Y20xC+Fzt72VPzMSk2A==")
        .body(good.clone())
        .await
        .refused(400, "BadDigest");
    for bad in [
        format!("<Delete>{}</Delete>", list(&["a"; 1001])),
        "<Delete/>".into(),
        good.replace("</Delete>", "<Quit>true</Quit></Delete>"),
        format!("<!DOCTYPE Delete []>{good}"),
        format!("{good}{good}"),
        String::new(),
    ] {
        delete(&house, &bad).await.refused(400, "MalformedXML");
    }
    let large = "x".repeat((8 << 20) + 1);
    delete(&house, &large).await.refused(400, "MaxMessageLengthExceeded");
    house.get("/abc/a").await.expect(200);
}
