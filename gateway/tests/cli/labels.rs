//! Labels by command.

use super::*;

#[test]
fn labels_are_set_shown_found_and_taken_away() {
    let served = Served::start(&[], &[]);
    store(&served, 3);
    let text = |line: &str| {
        let output = served.run(line);
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(text("label s3://photos/1"), "");
    assert_eq!(text("label s3://photos/1 team=x stage=raw=1"), "stage=raw=1\nteam=x\n");
    assert_eq!(
        text("label s3://photos/ a=b --remove team --recursive --dry-run"),
        "3 objects, 3 of them would change\n"
    );
    assert_eq!(served.json("label s3://photos/1"), serde_json::json!({ "stage": "raw=1", "team": "x" }));
    assert_eq!(served.json("label s3://photos/ a=b --recursive")["changed"], 3);
    assert_eq!(text("label s3://photos/ a=b --recursive"), "3 objects, 0 of them changed\n");
    assert_eq!(text("label s3://photos/1 --remove stage,team"), "a=b\n");
    assert_eq!(text("label s3://photos/2 team=y"), "a=b\nteam=y\n");
    assert_eq!(text("find --where labels.team=='y' --count"), "1 object, 100.0 KiB\n");
    let found = text("find s3://photos/2 --json");
    let found: Value = serde_json::from_str(found.lines().next().unwrap()).unwrap();
    assert_eq!(found["object"]["labels"], serde_json::json!({ "a": "b", "team": "y" }));
    let full: Vec<String> = (0..10).map(|number| format!("n{number}=1")).collect();
    for (line, code, want) in [
        ("label s3://photos/none a=b".to_owned(), 1, "no object `s3://photos/none`"),
        ("label s3://nothing/x".to_owned(), 1, "no bucket `nothing`"),
        ("label s3://photos/1 a".to_owned(), 2, ""),
        ("label s3://photos/1 --remove a=b".to_owned(), 2, "`a=b`: a label's name has 1 to 128 characters"),
        ("label s3://photos/ --recursive".to_owned(), 2, "nothing to set"),
        (format!("label s3://photos/1 {}", full.join(" ")), 4, "refused (too_many_labels): `s3://photos/1` would have"),
        (format!("label s3://photos/ {} --recursive", full.join(" ")), 1, "3 objects would have too many labels"),
    ] {
        let output = served.run(&line);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {told}");
        assert!(told.trim_start_matches("holdall: ").starts_with(want), "{line}: {told}");
    }
    assert_eq!(text("label s3://photos/1"), "a=b\n");
    served.stop();
}
