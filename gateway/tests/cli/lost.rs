//! A silo that never comes back: declared so, made good for, taken out.

use super::*;

/// What S3 answers: its status and its body.
fn ask(served: &Served, method: http::Method, path: &str) -> (u16, String) {
    use holdall::cli::client::{Endpoint, Speak};
    use holdall::cli::credentials::KeyFile;
    use http_body_util::BodyExt;
    let file = KeyFile::read(&served.folder.path().join("data")).unwrap().unwrap();
    let clock = std::sync::Arc::new(holdall_namespace::clock::SystemClock::new());
    let s3 = Endpoint::new(&file.endpoint, Speak::S3, &file.region, file.keys, clock).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let response = s3.send(method, path, &[], Vec::new().into()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    })
}

fn until(served: &Served, what: &dyn Fn() -> bool) {
    for _ in 0..600 {
        if what() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("it did not come to that: {} {}", served.json("plan"), served.json("status"));
}

/// What a command says that succeeds.
fn text(served: &Served, line: &str) -> String {
    let output = served.run(line);
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// For people, and for scripts; and it stays a look.
fn says_what_goes(served: &Served) {
    let told = "silo attic has 5 extents, 495.4 KiB; other silos have 3 of them, 300.0 KiB; nowhere else: 195.4 KiB of 2 objects\n";
    assert_eq!(text(served, "silo lost attic --dry-run"), told);
    assert_eq!(text(served, "silo lost attic --dry-run --list"), format!("s3://only/a\ns3://only/b\n{told}"));
    let lines = text(served, "silo lost attic --dry-run --list --json");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[1]["going"]["object"], serde_json::json!({"bucket": "only", "key": "b", "bytes": 200_000}));
    assert_eq!(lines[2]["loss"]["object_bytes"], 200_100);
    assert!(served.json("silo list")[0]["lost"].is_null(), "a dry run changes nothing");
}

/// A disk died. GETs of what was only there answered 503 for ever, new copies were not made of the rest, since the dead disk counted as
/// one, and the silo could not be taken out, since the sweep waited for it.
#[test]
fn a_lost_silo_is_made_good_for_told_and_taken_out() {
    let served = Served::start(&[], &[]);
    assert!(served.run("silo create attic file:attic").status.success());
    assert!(served.run("objective set safe --on s3://photos/ --place attic --place hot --copies 2").status.success());
    assert!(served.run("objective set only --on s3://only/ --place attic").status.success());
    store(&served, 3);
    put(&served, &[("/only".to_owned(), 0), ("/only/a".to_owned(), 100), ("/only/b".to_owned(), 200_000)]);
    let until = |what: &dyn Fn() -> bool| until(&served, what);
    until(&|| served.json("plan")["aligned"]["extents"] == 5);
    let refused = served.run("silo lost attic");
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    assert!(
        stderr(&refused).starts_with("holdall: refused (silo_answers): silo `attic` answers"),
        "{}",
        stderr(&refused)
    );

    std::fs::remove_dir_all(served.folder.path().join("data/attic")).unwrap();
    says_what_goes(&served);
    let text = |line: &str| text(&served, line);
    // The other two take the copies that are missing from now on.
    assert!(
        served
            .run("objective set safe --on s3://photos/ --place attic --place hot --place cold --copies 2")
            .status
            .success()
    );
    let declared = text("silo lost attic");
    assert!(
        declared.contains("silo attic is lost, and not asked any more; job 1 (forget what attic held)"),
        "{declared}"
    );
    assert!(declared.contains("`holdall silo lost attic --dry-run --list` names it"), "{declared}");
    assert!(text("job watch 1").contains("is done"));
    until(&|| {
        (0..3).all(|number| {
            let found = served.json(&format!("where s3://photos/{number}"));
            let on = |silo: &str| {
                found.as_array().unwrap().iter().any(|one| one["silo"] == silo && one["state"] == "verified")
            };
            on("hot") && on("cold") && !on("attic")
        })
    });
    until(&|| text("status").contains("they went with a silo that is lost, and no other has them"));
    assert!(text("silo list").lines().any(|line| line.starts_with("attic") && line.contains("lost")));
    for number in 0..3 {
        assert_eq!(ask(&served, http::Method::GET, &format!("/photos/{number}")).0, 200);
    }
    for key in ["/only/a", "/only/b"] {
        assert_eq!(ask(&served, http::Method::HEAD, key).0, 200);
        let (status, body) = ask(&served, http::Method::GET, key);
        assert_eq!(status, 405, "{body}");
        assert!(body.contains("<Code>MethodNotAllowed</Code>") && body.contains("went with silo `attic`"), "{body}");
    }

    assert!(served.run("objective delete safe").status.success());
    assert!(served.run("objective delete only").status.success());
    let refused = stderr(&served.run("silo delete attic"));
    assert!(
        refused.starts_with("holdall: refused (silo_lost): 2 extents, 200100 bytes, went with silo `attic`"),
        "{refused}"
    );
    for key in ["/only/a", "/only/b"] {
        assert_eq!(ask(&served, http::Method::DELETE, key).0, 204);
    }
    assert_eq!(served.json("sweep --now")["waiting"], 0);
    let deleted = served.run("silo delete attic");
    assert!(deleted.status.success(), "{}", stderr(&deleted));
    assert_eq!(served.json("check --deep")["checked"]["findings"], 0);
    served.stop();
}
