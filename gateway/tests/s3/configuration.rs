use crate::house::House;

/// Configurations that cannot be set yet are read as on an AWS bucket that has none.
#[tokio::test]
async fn nothing_is_configured() {
    let house = House::with_bucket().await;
    for (query, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("policyStatus", "NoSuchBucketPolicy"),
        ("cors", "NoSuchCORSConfiguration"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("website", "NoSuchWebsiteConfiguration"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("replication", "ReplicationConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
        ("publicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("ownershipControls", "OwnershipControlsNotFoundError"),
        ("metrics&id=1", "NoSuchConfiguration"),
    ] {
        house.get(&format!("/abc?{query}")).await.refused(404, code);
    }
    for (query, root) in [
        ("versioning", "<VersioningConfiguration"),
        ("logging", "<BucketLoggingStatus"),
        ("notification", "<NotificationConfiguration"),
        ("accelerate", "<AccelerateConfiguration"),
        ("requestPayment", "<Payer>BucketOwner</Payer>"),
        ("metrics", "<IsTruncated>false</IsTruncated>"),
    ] {
        assert!(house.get(&format!("/abc?{query}")).await.expect(200).text().contains(root), "{query}");
    }
    house.put("/abc/k").await.expect(200);
    house.get("/abc/k?retention").await.refused(400, "InvalidRequest");
    house.get("/abc/none?retention").await.refused(404, "NoSuchKey");
}

/// There is one access control list: the owner has full control. It can be read, and setting exactly it (`private`,
/// `bucket-owner-full-control`, or the document itself) is 200; every other is AccessControlListNotSupported and changes
/// nothing.
#[tokio::test]
async fn the_owner_has_full_control() {
    let house = House::with_bucket().await;
    house.put("/abc/k").header("x-amz-acl", "private").await.expect(200);
    for target in ["/abc?acl", "/abc/k?acl"] {
        let answer = house.get(target).await.expect(200);
        assert_eq!(answer.element("Permission"), "FULL_CONTROL");
        assert_eq!(answer.elements("DisplayName"), ["admin", "admin"]);
        house.put(target).body(answer.body.clone()).await.expect(200);
        let read = answer.text().replace("FULL_CONTROL", "READ");
        house.put(target).body(read).await.refused(400, "AccessControlListNotSupported");
        house.put(target).header("x-amz-acl", "private").await.expect(200);
        for acl in ["public-read", "public-ready"] {
            house.put(target).header("x-amz-acl", acl).await.refused(400, "AccessControlListNotSupported");
        }
    }
    let refused = house.put("/abc/other").header("x-amz-acl", "public-read").body("x").await;
    refused.refused(400, "AccessControlListNotSupported");
    let refused = house.put("/abc/other").header("x-amz-grant-read", "id=1").body("x").await;
    refused.refused(400, "AccessControlListNotSupported");
    house.get("/abc/other").await.refused(404, "NoSuchKey");
}
