//! A silo is replaced by command.

use super::*;

#[test]
fn a_silo_is_switched_and_taken_out() {
    let served = Served::start(&["--sweep-grace", "0s"], &[]);
    store(&served, 4);
    let new = served.folder.path().join("new");
    std::fs::create_dir(&new).unwrap();
    assert!(served.run(&format!("silo create new file://{}", new.display())).status.success());
    let planned = served.json("switch start hot new --dry-run");
    assert_eq!((&planned["rest"]["extents"], &planned["done"]["extents"]), (&4.into(), &0.into()), "{planned}");
    assert_eq!(served.json("switch status"), Value::Array(Vec::new()));
    assert!(served.run("switch start hot new").status.success());
    let followed = |_: u32| {
        let status = served.json("switch status");
        status[0]["rest"]["extents"] == 0 && status[0]["done"]["extents"] == 4
    };
    assert!((0..300).any(followed), "{}", served.json("switch status"));
    let text = String::from_utf8(served.run("switch status").stdout).unwrap();
    assert!(text.contains("OLD") && text.contains("hot") && text.contains("0.000 s"), "{text}");
    let refused = served.run("drain hot --to cold");
    assert!(stderr(&refused).contains("silo_in_switch"), "{}", stderr(&refused));
    let job = served.json("switch rollback hot");
    assert_eq!((&job["state"], &job["moved_objects"]), (&"done".into(), &4.into()), "{job}");
    assert!(served.run("switch start hot new").status.success());
    assert!((0..300).any(followed), "{}", served.json("switch status"));
    assert_eq!(served.json("switch commit hot")["state"], "empty");
    let told = String::from_utf8(served.run("where s3://photos/1").stdout).unwrap();
    assert!(told.contains("new") && !told.contains("hot"), "{told}");
    assert!(served.run("silo delete hot").status.success());
    served.stop();
}

#[test]
fn jobs_and_silos_are_paused_by_command() {
    let served = Served::start(&["--align-every", "0s"], &[]);
    store(&served, 6);
    assert!(served.run("silo pause cold").status.success());
    let listed = String::from_utf8(served.run("silo list").stdout).unwrap();
    assert!(listed.contains("paused"), "{listed}");
    let job = served.json("place s3://photos/ --on cold --detach");
    let id = &job["id"];
    assert_eq!(served.json(&format!("job pause {id}"))["state"], "paused");
    assert!(String::from_utf8(served.run("job list").stdout).unwrap().contains("paused"));
    assert!(served.run("silo resume cold").status.success());
    assert_eq!(served.json(&format!("job resume {id}"))["state"], "running");
    let done = |_: u32| served.json("job list")[0]["state"] == "done";
    assert!((0..300).any(done), "{}", served.json("job list"));
    let refused = served.run(&format!("job resume {id}"));
    assert!(stderr(&refused).contains("is neither paused nor failed"), "{}", stderr(&refused));
    assert!(served.run("place s3://photos/ --on hot --hold 7d").status.success());
    let objectives = served.json("objective list");
    assert_eq!((&objectives[0]["first"], &objectives[0]["place"][0]), (&true.into(), &"hot".into()), "{objectives}");
    served.stop();
}
