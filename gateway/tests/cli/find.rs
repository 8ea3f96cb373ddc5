//! Searches by command.

use super::*;

#[test]
fn objects_are_found_by_what_is_known_of_them() {
    let served = Served::start(&[], &[]);
    put(
        &served,
        &[("/photos".to_owned(), 0), ("/photos/2024/a%1Bb".to_owned(), 2048), ("/photos/2025/c".to_owned(), 7)],
    );
    let find = |more: &[&str]| {
        let mut command = holdall(served.folder.path());
        command.args(["find", "s3://photos/"]).args(more).args(["--data", "data"]);
        command.env("HOLDALL_ADMIN", served.told["admin"].as_str().unwrap()).output().unwrap()
    };
    let told = |output: Output| String::from_utf8(output.stdout).unwrap();
    let shown = told(find(&["--where", "'hot' in silos && copies == 1"]));
    let words: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((words[0][..2].to_vec(), words.len()), (vec!["2.0", "KiB"], 2), "{shown}");
    assert_eq!(words[0][4..], ["hot", "s3://photos/2024/a\u{fffd}b"], "{shown}");
    assert_eq!(told(find(&["--count"])), "2 objects, 2.0 KiB\n");
    assert_eq!(told(find(&["--count", "--where", "size < 10"])), "1 object, 7 B\n");
    let lines: Vec<Value> =
        told(find(&["--json", "--limit", "1"])).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["object"]["key"]), (2, &"2024/a\u{1b}b".into()), "{lines:?}");
    assert_eq!((&lines[0]["object"]["size"], &lines[0]["object"]["silos"][0]), (&2048.into(), &"hot".into()));
    assert_eq!((&lines[1]["found"]["limited"], &lines[1]["found"]["objects"]), (&true.into(), &1.into()));
    let output = find(&["--where", "size > 1 && int(key.substring) > 2"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = find(&["--where", "size > 1 &&\n sise > 3"]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("holdall: there is no `sise`") && text.ends_with("(line 2, column 2)\n"), "{text}");
    let output = find(&["--where", "bucket != 'photos' || int(key) == 1"]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(
        stderr(&output).starts_with("2 objects could not be asked, which counts as no; the first: s3://photos/2024/")
    );
    let gone = served.run("find s3://nothing/");
    assert_eq!((gone.status.code(), stderr(&gone).as_str()), (Some(1), "holdall: no bucket `nothing`\n"));
    served.stop();
}
