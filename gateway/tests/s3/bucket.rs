use crate::house::House;

/// A bucket belongs to the account that made it. Nobody else reads, writes, lists or deletes it: AccessDenied. A bucket
/// that does not exist is NoSuchBucket to everybody.
#[tokio::test]
async fn buckets_belong_to_their_maker() {
    let house = House::with_bucket().await;
    house.put("/abc/k").body("mine").await.expect(200);
    for (method, target) in [
        ("GET", "/abc"),
        ("GET", "/abc?list-type=2"),
        ("GET", "/abc?location"),
        ("GET", "/abc?policy"),
        ("GET", "/abc?acl"),
        ("DELETE", "/abc"),
        ("GET", "/abc/k"),
        ("PUT", "/abc/k"),
        ("DELETE", "/abc/k"),
        ("GET", "/abc/k?tagging"),
        ("POST", "/abc/k?uploads"),
        ("PUT", "/abc/k?retention"),
    ] {
        house.ask(method, target).by(2).await.refused(403, "AccessDenied");
        house.ask(method, &target.replace("abc", "nobodys")).by(2).await.refused(404, "NoSuchBucket");
    }
    house.head("/abc").by(2).await.expect(403);
    assert_eq!(house.get("/abc/k").await.expect(200).text(), "mine");
}

/// Creating a bucket one has already is 200 in `us-east-1` and changes nothing; in every other region it is
/// BucketAlreadyOwnedByYou. Another account gets BucketAlreadyExists.
#[tokio::test]
async fn a_bucket_is_made_once() {
    let house = House::with_bucket().await;
    house.put("/abc/k").await.expect(200);
    assert_eq!(house.put("/abc").await.expect(200).header("location"), "/abc");
    house.get("/abc/k").await.expect(200);
    house.put("/abc").by(2).await.refused(409, "BucketAlreadyExists");
    let elsewhere = House::at("eu-west-1").await;
    elsewhere.put("/abc").await.expect(200);
    elsewhere.put("/abc").await.refused(409, "BucketAlreadyOwnedByYou");
}

/// A location constraint must be the gateway's region; none at all is the gateway's region. GetBucketLocation names
/// it, in `us-east-1` too, where AWS answers nothing.
#[tokio::test]
async fn there_is_one_region() {
    let house = House::open().await;
    let body = |region| {
        format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        )
    };
    house.put("/abc").body(body("us-east-1")).await.expect(200);
    house.put("/def").body(body("mars-1")).await.refused(400, "IllegalLocationConstraintException");
    house.put("/def").body("<Create").await.refused(400, "MalformedXML");
    house.get("/def").await.refused(404, "NoSuchBucket");
    assert!(house.get("/abc?location").await.expect(200).text().ends_with(">us-east-1</LocationConstraint>"));
    assert_eq!(house.head("/abc").await.expect(200).header("x-amz-bucket-region"), "us-east-1");
}

/// A bucket is deleted when it holds no object; uploads in progress are given up with it.
#[tokio::test]
async fn only_empty_buckets_are_deleted() {
    let house = House::with_bucket().await;
    house.put("/abc/k").await.expect(200);
    house.delete("/abc").await.refused(409, "BucketNotEmpty");
    house.delete("/abc/k").await.expect(204);
    let id = house.post("/abc/k?uploads").await.expect(200).element("UploadId");
    house.delete("/abc").await.expect(204);
    house.delete("/abc").await.refused(404, "NoSuchBucket");
    house.put("/abc").await.expect(200);
    house.get(&format!("/abc/k?uploadId={id}")).await.refused(404, "NoSuchUpload");
}

/// ListBuckets shows the caller's own buckets by name, in pages of `max-buckets` and by `prefix`; the last page has no
/// token.
#[tokio::test]
async fn one_sees_ones_own_buckets() {
    let house = House::open().await;
    for name in ["abc", "abd", "bcd"] {
        house.put(&format!("/{name}")).await.expect(200);
    }
    house.put("/others").by(2).await.expect(200);
    assert_eq!(house.get("/").await.expect(200).elements("Name"), ["abc", "abd", "bcd"]);
    assert_eq!(house.get("/").by(2).await.expect(200).elements("Name"), ["others"]);
    assert_eq!(house.get("/?prefix=ab").await.expect(200).elements("Name"), ["abc", "abd"]);
    let page = house.get("/?max-buckets=2").await.expect(200);
    assert_eq!(page.elements("Name"), ["abc", "abd"]);
    let token = page.element("ContinuationToken");
    let page = house.get(&format!("/?max-buckets=1&continuation-token={token}")).await.expect(200);
    assert_eq!(page.elements("Name"), ["bcd"]);
    assert!(page.elements("ContinuationToken").is_empty());
    for bad in ["max-buckets=0", "max-buckets=10001", "max-buckets=x", "continuation-token=%21"] {
        house.get(&format!("/?{bad}")).await.refused(400, "InvalidArgument");
    }
}

/// `holdall-inventory` is a bucket of Holdall's own, which the first account reads. Nobody creates a bucket of that name
/// (BucketAlreadyExists), and every write to it is AccessDenied.
#[tokio::test]
async fn the_inventory_is_read_and_not_written_to() {
    let house = House::with_bucket().await;
    house.put("/holdall-inventory").await.refused(409, "BucketAlreadyExists");
    house.put("/abc/k").body("mine").await.expect(200);
    house.take_inventory().await;
    let file = "/holdall-inventory/abc/latest/part-00000.parquet";
    let table = house.get(file).await.expect(200);
    assert!(table.body.starts_with(b"PAR1") && table.body.ends_with(b"PAR1"));
    assert_eq!(table.header("content-type"), "application/vnd.apache.parquet");
    assert_eq!(house.get("/holdall-inventory?prefix=abc/latest/").await.expect(200).elements("Key").len(), 1);
    house.put("/abc/copy").header("x-amz-copy-source", &file[1..]).await.expect(200);
    for (method, target) in [
        ("PUT", "/holdall-inventory"),
        ("PUT", "/holdall-inventory?tagging"),
        ("DELETE", "/holdall-inventory"),
        ("POST", "/holdall-inventory?delete"),
        ("PUT", file),
        ("DELETE", file),
        ("PUT", "/holdall-inventory/other?tagging"),
        ("POST", "/holdall-inventory/other?uploads"),
    ] {
        let code =
            if target == "/holdall-inventory" && method == "PUT" { "BucketAlreadyExists" } else { "AccessDenied" };
        let answer = house.ask(method, target).await;
        assert_eq!(answer.element("Code"), code, "{method} {target}");
    }
    assert_eq!(house.get(file).await.expect(200).body, table.body);
    house.get(file).by(2).await.refused(403, "AccessDenied");
}

/// `x-amz-expected-bucket-owner` is compared with the owner's canonical id and number; another one is AccessDenied,
/// and nothing is done.
#[tokio::test]
async fn expected_owners_are_checked() {
    let house = House::with_bucket().await;
    let canonical = house.account(1).canonical_id.clone();
    let other = house.account(2).canonical_id.clone();
    for good in ["1", "000000000001", &canonical] {
        house.put("/abc/k").header("x-amz-expected-bucket-owner", good).await.expect(200);
    }
    let wrong = house.put("/abc/other").header("x-amz-expected-bucket-owner", "111122223333").await;
    wrong.refused(403, "AccessDenied");
    let copy = house.put("/abc/other").header("x-amz-copy-source", "abc/k");
    copy.header("x-amz-source-expected-bucket-owner", &other).await.refused(403, "AccessDenied");
    house.get("/abc/other").await.refused(404, "NoSuchKey");
}
