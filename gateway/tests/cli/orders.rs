//! Rates of silos, and what failed to move, by command.

use super::scrub::file_of;
use super::*;

/// Of a hundred thousand objects that were to move nobody could say which had not, and why.
#[test]
fn what_failed_to_move_is_listed_until_it_moves() {
    let served = Served::start(&["--backup-every", "0s"], &[]);
    store(&served, 1);
    let flip = || {
        let path = file_of(&served.folder.path().join("data/hot/blobs"), 100 << 10);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[50_000] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    let failed = |count: usize| {
        let mut told = Value::Null;
        for _ in 0..600 {
            told = served.json("job failed");
            if told.as_array().unwrap().len() == count {
                return told;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{told}");
    };
    assert_eq!(failed(0), serde_json::json!([]));
    flip();
    assert!(served.run("place s3://photos/ --on cold --detach").status.success());
    let told = failed(1);
    let one = &told[0];
    assert_eq!(
        (&one["bucket"], &one["from"], &one["to"], &one["job"]),
        (&"photos".into(), &"hot".into(), &"cold".into(), &1.into()),
        "{told}"
    );
    assert!(one["reason"].as_str().unwrap().contains("the source cannot be read"), "{told}");
    let text = String::from_utf8(served.run("job failed").stdout).unwrap();
    assert!(text.contains("s3://photos/") && text.contains("the source cannot be read"), "{text}");
    flip();
    failed(0);
}

#[test]
fn a_silo_has_rates_for_what_runs_in_the_background() {
    let served = Served::start(&[], &[]);
    let after = |line: &str| served.json(line)["changes"][0]["after"].clone();
    let limited = "file:cold reserve 5%, read at 2MiB a second, written at 1MiB a second";
    assert_eq!(after("silo set cold --write-rate 1MiB --read-rate 2MiB"), limited);
    assert_eq!(after("silo set cold --write-rate 0"), "file:cold reserve 5%, read at 2MiB a second");
    assert_eq!(after("silo set cold --read-rate 0"), "file:cold reserve 5%");
}
