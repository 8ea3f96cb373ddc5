//! Silos by command: registered, looked at, changed, cordoned, taken out.

use super::*;

/// A silo in memory was applied, took writes, and after a restart the data folder never opened again.
#[test]
fn a_silo_that_would_be_lost_with_the_process_is_refused_however_it_is_declared() {
    let file = "[silo.fast]\nurl = \"memory:x\"\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fast.toml"), file).unwrap();
    let output = serve(folder.path(), &["--config", "fast.toml"]).output().unwrap();
    let text = log(folder.path());
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("holdall: silo.fast.url: `memory:x`"), "{text}");
    let served = Served::again(folder, &[], &[]);
    for line in ["apply -f fast.toml --dry-run", "apply -f fast.toml"] {
        let output = served.run(line);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.starts_with("holdall: silo.fast.url: `memory:x`"), "{text}");
    }
    assert_eq!(served.json("silo list").as_array().map(Vec::len), Some(2));
    served.stop();
}

/// `place` moved bytes into a silo that its owner had cordoned so that it would get none.
#[test]
fn nothing_is_placed_on_a_cordoned_silo() {
    let served = Served::start(&[], &[]);
    store(&served, 1);
    served.json("silo cordon cold");
    for line in ["place s3://photos/ --on cold --dry-run", "place s3://photos/ --on cold"] {
        let output = served.run(line);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(4), "{text}");
        assert!(text.starts_with("holdall: refused (silo_cordoned): silo `cold` is cordoned"), "{text}");
        assert!(text.contains("`holdall silo uncordon cold`"), "{text}");
    }
    assert_eq!(served.json("job list"), Value::Array(Vec::new()));
    served.json("silo uncordon cold");
    assert_eq!(served.json("place s3://photos/ --on cold")["moved_objects"], 1);
    served.stop();
}

/// What a silo promises was found out when it was registered, and never again; how fast it is, nobody could tell.
#[test]
fn a_silo_is_probed_by_order() {
    let served = Served::start(&[], &[]);
    let found = served.json("silo probe hot --size 1MiB");
    assert_eq!((&found["silo"]["name"], &found["speed"]["size"]), (&"hot".into(), &(1 << 20).into()), "{found}");
    assert!(found["speed"]["write_rate"].as_u64().is_some_and(|rate| rate > 0), "{found}");
    assert_eq!((&found["silo"]["facts"]["family"], &found["facts_changed"]), (&"posix".into(), &false.into()));
    let output = served.run("silo probe hot");
    let text = String::from_utf8(output.stdout).unwrap();
    for told in [
        "hot (posix, ",
        "  exclusive create          yes",
        "  recognized by             ",
        "  write 8.0 MiB             ",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    for (line, code, told) in [
        ("silo probe attic", 1, "holdall: no silo `attic`"),
        ("silo probe hot --size 1GiB", 2, "holdall: a probe writes 1 byte to 268435456 bytes, not 1073741824"),
    ] {
        let output = served.run(line);
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(stderr(&output).starts_with(told), "{}", stderr(&output));
    }
    std::fs::remove_file(served.folder.path().join("data/hot/holdall-silo.json")).unwrap();
    let output = served.run("silo probe hot");
    assert_eq!(output.status.code(), Some(1));
    let told =
        "holdall: silo `hot`, recognizing it: not done: the silo's root has no `holdall-silo.json`; is it mounted?";
    assert!(stderr(&output).starts_with(told), "{}", stderr(&output));
    served.stop();
}

/// A silo whose folder was mounted elsewhere could be told so by a file alone.
#[test]
fn a_silo_is_set_while_it_is_in_use() {
    let served = Served::start(&[], &[]);
    let data = served.folder.path().join("data");
    std::fs::rename(data.join("hot"), data.join("moved")).unwrap();
    let change = serde_json::json!([{
        "what": "silo.hot", "before": "file:hot reserve 5%", "after": "file:moved reserve 7%"
    }]);
    for dry_run in [true, false] {
        let more = if dry_run { " --dry-run" } else { "" };
        let set = served.json(&format!("silo set hot --url file:moved --reserve 7%{more}"));
        assert_eq!((&set["dry_run"], &set["changes"]), (&dry_run.into(), &change), "{set}");
    }
    let silos = served.json("silo list");
    assert_eq!((&silos[1]["url"], &silos[1]["health"]), (&"file:moved".into(), &"up".into()), "{silos}");
    assert_eq!(served.json("silo set hot --renew")["changes"][0]["after"], "file:moved reserve 7%, connected anew");
    for (line, code, told) in [
        ("silo set attic --reserve 1%", 1, "holdall: no silo `attic`"),
        ("silo set hot", 2, "holdall: say what to set: --url"),
        ("silo set hot --ambient --token-env X", 2, "holdall: --ambient says"),
        ("silo set hot --url memory:x", 2, "holdall: silo.hot.url: `memory:x`: what it takes would be lost"),
        ("silo set hot --url gs://bucket", 2, "holdall: silo.hot.url: `gs://bucket` is another kind of silo"),
        ("silo set hot --access read-only", 2, "holdall: silo.hot.access: whose a silo is does not change"),
        ("silo set hot --url file:nowhere", 4, "holdall: refused (silo_refused): silo `hot`: not done: "),
        ("silo set hot --token-env UNSET", 4, "holdall: refused (silo_refused): silo `hot`: the environment variable"),
    ] {
        let output = served.run(line);
        assert_eq!(output.status.code(), Some(code), "{line}: {}", stderr(&output));
        assert!(stderr(&output).starts_with(told), "{line}: {}", stderr(&output));
    }
    served.stop();
}

/// A silo that was drained could not be taken out: without its folder the gateway did not start any more.
#[test]
fn a_drained_silo_is_taken_out_and_its_folder_may_go() {
    let served = Served::start(&[], &[]);
    store(&served, 3);
    let refused = |line: &str, want: &str| {
        let output = served.run(line);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(4), "{line}: {text}");
        assert!(text.starts_with(&format!("holdall: refused ({want}")), "{line}: {text}");
    };
    refused("silo delete hot", "silo_not_cordoned): silo `hot` takes new bytes");
    served.json("silo cordon hot");
    refused("silo delete hot", "silo_in_policy): `write` sends new objects");
    std::fs::write(served.folder.path().join("cold.toml"), "[write]\nto = [\"cold\"]\n").unwrap();
    served.json("apply -f cold.toml");
    refused("silo delete hot", "silo_not_empty): silo `hot` holds 3 extents, 307200 bytes");
    let job = served.json("drain hot --to cold --wait done")["id"].as_u64().unwrap();
    refused("silo delete hot", &format!("silo_in_job): job {job} is about"));
    served.json("sweep --now");
    assert!(served.run(&format!("job watch {job} --wait empty")).status.success());
    assert!(served.run("silo delete hot").status.success());
    refused("silo delete cold", "silo_not_cordoned");
    served.json("silo cordon cold");
    refused("silo delete cold", "last_silo): silo `cold` is the only one");
    served.json("silo uncordon cold");

    let (code, text, folder) = served.stop();
    assert_eq!(code, Some(0), "{text}");
    std::fs::remove_dir_all(folder.path().join("data/hot")).unwrap();
    let served = Served::again(folder, &[], &[]);
    assert_eq!(served.json("du")["buckets"][0]["objects"], 3);
    assert_eq!(served.json("check --deep")["summary"]["findings"].as_u64().unwrap_or(0), 0);

    let dry = served.json("silo create hot file:hot --reserve 7% --dry-run");
    assert_eq!(dry["changes"][0]["after"], "file:hot reserve 7%");
    assert_eq!(served.json("silo list").as_array().map(Vec::len), Some(1));
    served.json("silo create hot file:hot --reserve 7%");
    assert_eq!(served.json("silo list").as_array().map(Vec::len), Some(2));
    let again = served.run("silo create hot file:other");
    assert!(stderr(&again).starts_with("holdall: refused (silo_exists): "), "{}", stderr(&again));
    let inside = served.run("silo create deep file:hot/deep");
    assert_eq!(inside.status.code(), Some(2), "{}", stderr(&inside));
    assert_eq!(served.json("place s3://photos/ --on hot")["moved_objects"], 3);
    served.stop();
}
