//! Objectives by command: declared, shown, planned, carried out, explained, taken away.

use super::*;

/// Declares the objective that these tests are about.
fn archive(served: &Served, more: &[&str]) -> String {
    let set = ["objective", "set", "archive", "--on", "s3://photos/", "--place", "cold"];
    let when = ["--when", "size >= 1 && age < days(1)"];
    let mut command = holdall(served.folder.path());
    command.args(set).args(when).args(more);
    command.args(["--data", "data"]).env("HOLDALL_ADMIN", served.told["admin"].as_str().unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_wished_is_planned_and_then_moved() {
    let served = Served::start(&["--align-every", "0s"], &[]);
    store(&served, 3);
    let would = archive(&served, &["--dry-run"]);
    assert!(would.contains("WOULD BE") && would.contains("hot to cold"), "{would}");
    assert_eq!(served.json("objective list"), Value::Array(Vec::new()), "a dry run declares nothing");
    archive(&served, &[]);
    let listed = served.json("objective list --effective s3://photos/2024/");
    assert_eq!((&listed[0]["name"], &listed[0]["place_now"][0]), (&"archive".into(), &"cold".into()), "{listed}");
    assert_eq!(served.json("objective list --effective s3://other-bucket/"), Value::Array(Vec::new()));
    let planned = served.json("plan");
    assert_eq!((&planned["objects"], &planned["moves"][0]["extents"]), (&3.into(), &3.into()), "{planned}");
    let text = String::from_utf8(served.run("plan s3://photos/").stdout).unwrap();
    assert!(text.contains("hot to cold") && text.contains("of 3 objects, 0 extents"), "{text}");
    assert_eq!(served.json("align --dry-run")["objects"], 3);
    assert_eq!(served.json("align s3://photos/")["moved_objects"], 3);
    assert_eq!(served.json("plan")["aligned"]["extents"], 3);
    let why = String::from_utf8(served.run("why s3://photos/1").stdout).unwrap();
    for told in
        ["objective archive applies: s3://photos/ when size", "wanted on cold (by archive)", "is on cold, and stays"]
    {
        assert!(why.contains(told), "{why}");
    }
    assert!(served.run("objective set never --never hot").status.success());
    let refused = served.run("place s3://photos/ --on hot");
    let text = stderr(&refused);
    assert_eq!(refused.status.code(), Some(4), "{text}");
    assert!(text.starts_with("holdall: refused (against_objective): objective `never` would undo that"), "{text}");
    assert!(served.run("objective delete archive").status.success());
    let gone = served.run("objective delete archive");
    assert_eq!((gone.status.code(), stderr(&gone).as_str()), (Some(1), "holdall: no objective `archive`\n"));
    served.stop();
}

#[test]
fn what_is_wished_moves_by_itself_unless_it_is_paused() {
    let served = Served::start(&[], &[]);
    store(&served, 3);
    archive(&served, &["--paused"]);
    let planned = served.json("plan");
    assert_eq!(
        (&planned["moves"][0]["extents"], &planned["moves"][0]["paused"]),
        (&3.into(), &true.into()),
        "{planned}"
    );
    assert_eq!(served.json("align --dry-run")["objects"], 0);
    assert!(String::from_utf8(served.run("objective list").stdout).unwrap().contains("paused"));
    assert!(served.run("objective resume archive").status.success());
    let status = || String::from_utf8(served.run("status").stdout).unwrap();
    let there = |_: u32| {
        served.json("plan")["aligned"]["extents"] == 3
            && served.json("status")["alignment"]["moved"] == 3
            && status().contains("alignment  100.0 % of ")
    };
    assert!((0..300).any(there), "{} {}", served.json("plan"), status());
    assert_eq!(served.json("job list"), Value::Array(Vec::new()), "nobody ordered it");
    let moved = String::from_utf8(served.run("where s3://photos/1").stdout).unwrap();
    assert!(moved.contains("cold") && moved.contains("itself"), "{moved}");
    assert!(served.run("objective pause archive").status.success());
    let gone = served.run("objective pause other");
    assert_eq!((gone.status.code(), stderr(&gone).as_str()), (Some(1), "holdall: no objective `other`\n"));
    served.stop();
}

#[test]
fn what_is_wrong_with_an_objective_is_told_with_its_place() {
    let served = Served::start(&[], &[]);
    for (file, want) in [
        ("[objective.x]\nplaec = [\"cold\"]\n", "x.toml:2:1: unknown field `objective.x.plaec`; did you mean `place`?"),
        ("[objective.x]\nplace = [\"=\"]\n", "x.toml:2:"),
        ("[objective.x]\nplace = [\"cold\"]\nwhen = \"size >\"\n", "objective.x: "),
        ("[objective.x]\nplace = [\"cold\"]\nwhen = \"sise > 1\"\n", "objective.x: there is no `sise`: "),
        ("[objective.x]\non = \"photos\"\nplace = [\"cold\"]\n", "x.toml:2:"),
        ("[objective.x]\nnever = [\"nowhere\"]\n", "objective.x: there is no silo `nowhere`"),
    ] {
        std::fs::write(served.folder.path().join("x.toml"), file).unwrap();
        let output = served.run("apply -f x.toml");
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{file}: {text}");
        assert!(text.starts_with(&format!("holdall: {want}")) && text.lines().count() == 1, "{file}: {text}");
    }
    assert_eq!(served.json("objective list"), Value::Array(Vec::new()));
    served.stop();
}
