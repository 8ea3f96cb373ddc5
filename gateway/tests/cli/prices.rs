//! Prices by command: listed, said of silos, and what plans make of them.

use holdall::cli::credentials::KeyFile;
use secrecy::ExposeSecret;

use super::*;

fn text(served: &Served, line: &str) -> String {
    let output = served.run(line);
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn presets_are_listed_without_a_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let list = |more: &[&str]| {
        let output = holdall(folder.path()).args(["price", "list"]).args(more).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = list(&[]);
    let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let words = |name: &str| line(name).split_whitespace().take(11).collect::<Vec<_>>().join(" ");
    assert_eq!(words("PRESET"), "PRESET STORAGE RETRIEVAL EGRESS READS WRITES DAYS LEAST UNIT AS OF");
    assert_eq!(words("aws-s3-glacier-ir"), "aws-s3-glacier-ir 0.004 0.03 0.09 0.01 0.02 90 128.0 KiB GiB 2026-08");
    assert!(shown.contains("Check them against your own contract"), "{shown}");
    let all: Value = serde_json::from_str(&list(&["--json"])).unwrap();
    let r2 = all.as_array().unwrap().iter().find(|preset| preset["name"] == "cloudflare-r2").unwrap();
    assert_eq!((&r2["storage"], &r2["egress"], &r2["unit"]), (&0.015.into(), &0.0.into(), &"GB".into()));
    assert_eq!(r2["source"], "https://developers.cloudflare.com/r2/pricing/");
}

#[test]
fn what_silos_ask_is_said_by_command_and_by_file_and_seen_in_plans() {
    let served = Served::start(&[], &[]);
    store(&served, 3);
    assert!(served.run("objective set archive --on s3://photos/ --place cold").status.success());
    let plain = text(&served, "plan");
    assert!(!plain.contains("ONCE") && plain.contains("no price is known of silo `cold`, `hot`"), "{plain}");
    let would = text(&served, "silo set hot --price aws-s3-standard --dry-run");
    assert!(would.contains("reserve 5%, price aws-s3-standard"), "{would}");
    served.json("silo set hot --price aws-s3-standard");
    let file = "[silo.hot]\nurl = \"file:hot\"\n\
                price = { unit = \"GiB\", storage = 900, egress = 700, reads = 3, minimum_days = 30 }\n\
                [silo.cold]\nurl = \"file:cold\"\n\
                price = { preset = \"aws-s3-glacier-ir\", storage = 400, retrieval = 500, egress = 0, reads = 1, writes = 2 }\n";
    std::fs::write(served.folder.path().join("prices.toml"), file).unwrap();
    let dry = served.json("apply -f prices.toml --dry-run");
    let after = dry["changes"][0]["after"].as_str().unwrap();
    assert!(
        after.ends_with(", price aws-s3-glacier-ir storage 400 retrieval 500 egress 0 reads 1 writes 2"),
        "{after}"
    );
    served.json("apply -f prices.toml");
    let silos = served.json("silo list");
    assert_eq!((&silos[0]["price"]["egress"], &silos[1]["price"]["storage"]), (&0.0.into(), &900.0.into()));

    // 300 KiB: 6 reads at 3 and 3 writes at 2 a thousand, out at 700; 30 days at 900, just begun; 3 read back at 1, retrieved at 500.
    // Held at 400 for 128 KiB each.
    insta::assert_snapshot!(text(&served, "plan --rate 100KiB"), @r"
    OBJECTIVE  WHAT         EXTENTS      BYTES  USD ONCE  A MONTH NOW    THEN
    archive    hot to cold        3  300.0 KiB    0.6278       0.2575  0.1465
    of 3 objects, 0 extents (0 B) are where they are wanted
    moving costs 0.6278 USD once: requests 0.0240, egress 0.2003, early deletion 0.2575, verification 0.1461
    a month costs 0.2575 USD now, and 0.1465 then, with what was read in the last one
    at 100.0 KiB a second, and silos' own rates, 300.0 KiB take 3s
    ");
    let planned = served.json("plan --rate 100KiB");
    assert_eq!((&planned["seconds"], &planned["costs"]["currency"]), (&3.into(), &"USD".into()));
    assert_eq!(planned["moves"][0]["cost"]["once"]["requests"], "0.024");
    let unlimited = served.json("plan");
    assert!(unlimited.get("seconds").is_none(), "{unlimited}");
    let why = text(&served, "why s3://photos/1");
    let costs: Vec<&str> = why.lines().filter(|line| line.starts_with("on ")).collect();
    insta::assert_snapshot!(costs.join("\n"), @r"
    on cold it would cost 0.0488 USD a month, moving it there 0.2093 once: requests 0.0080, egress 0.0668, early deletion 0.0858, verification 0.0487
    on hot it costs 0.0858 USD a month
    ");

    for (line, code, told) in [
        (
            "silo set hot --price tape",
            2,
            "holdall: silo.hot.price: there is no preset `tape`; `holdall price list` shows them",
        ),
        ("plan --rate 0", 2, "holdall: a rate of 0 moves nothing"),
    ] {
        let output = served.run(line);
        assert_eq!((output.status.code(), stderr(&output).trim_end()), (Some(code), told), "{line}");
    }
    served.json("silo set hot --no-price");
    assert!(served.json("silo list")[1]["price"].is_null());
    served.stop();
}

/// Where each request costs a thousandth, a plan's cost is their number; the other side's access log has counted them.
#[test]
fn a_plan_counts_the_requests_that_moving_makes() {
    let there = Served::start(&["--access-log", "access.log", "--backup-every", "0s"], &[]);
    let keys = KeyFile::read(&there.folder.path().join("data")).unwrap().unwrap();
    let secret = keys.keys.secret.expose_secret().to_owned();
    put(&there, &[("/archive".to_owned(), 0)]);
    let env = [("FAR_KEY", keys.keys.id.as_str()), ("FAR_SECRET", secret.as_str())];
    let served = Served::start(&["--backup-every", "0s"], &env);
    let file = format!(
        "[silo.hot]\nurl = \"file:hot\"\nprice = \"free\"\n[silo.far]\nurl = \"s3://archive?endpoint={}\"\n\
         credentials = {{ access_key_id_env = \"FAR_KEY\", secret_access_key_env = \"FAR_SECRET\" }}\n\
         price = {{ reads = 1, writes = 1 }}\n",
        keys.endpoint
    );
    std::fs::write(served.folder.path().join("far.toml"), file).unwrap();
    served.json("apply -f far.toml");
    // Blobs of their own, one of them so long that its checksum is not known before it is sent, and small ones that share a pack.
    let large = [("/photos/a", 100 << 10), ("/photos/b", 200 << 10), ("/photos/c", 3 << 20)];
    let large = large.into_iter().map(|(path, size)| (path.to_owned(), size));
    let small = (0..40).map(|number| (format!("/photos/small/{number}"), 1000));
    put(&served, &std::iter::once(("/photos".to_owned(), 0)).chain(large).chain(small).collect::<Vec<_>>());
    let mut planned = Vec::new();
    for silo in ["far", "hot"] {
        assert!(served.run(&format!("objective set here --on s3://photos/ --place {silo}")).status.success());
        let costs = &served.json("plan")["costs"]["once"];
        planned.push((costs["requests"].clone(), costs["verification"].clone()));
        assert_eq!(served.json("align")["moved_objects"], 43);
    }
    served.stop();
    let (.., folder) = there.stop();
    let log = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    let count = |operations: &[&str]| {
        let of_blobs = log.lines().filter(|line| line.contains(" blobs/"));
        of_blobs.filter(|line| operations.iter().any(|operation| line.contains(operation))).count()
    };
    let (writes, reads) = (count(&[" REST.PUT.OBJECT "]), count(&[" REST.GET.OBJECT ", " REST.HEAD.OBJECT "]));
    let thousandths = |count: usize| Value::from(format!("0.{count:03}"));
    // There, the long one is read back; back, each blob is asked what it says of itself, and the pack is read at once.
    assert_eq!((writes, reads), (4, 8), "{log}");
    assert_eq!(planned, [(thousandths(4), thousandths(1)), (thousandths(7), "0".into())], "{log}");
}

/// What others keep in a bucket is listed every ten minutes, 4,320 times a month; of two names, by one request each time.
#[test]
fn a_plan_has_what_lists_of_roots_cost_a_month() {
    let there = Served::start(&["--backup-every", "0s"], &[]);
    let keys = KeyFile::read(&there.folder.path().join("data")).unwrap().unwrap();
    let secret = keys.keys.secret.expose_secret().to_owned();
    put(&there, &[("/archive".to_owned(), 0), ("/archive/a".to_owned(), 10), ("/archive/b".to_owned(), 10)]);
    let env = [("FAR_KEY", keys.keys.id.as_str()), ("FAR_SECRET", secret.as_str())];
    let served = Served::start(&["--backup-every", "0s"], &env);
    put(&served, &[("/photos".to_owned(), 0)]);
    let file = format!(
        "[silo.theirs]\nurl = \"s3://archive?endpoint={}\"\naccess = \"read-only\"\n\
         credentials = {{ access_key_id_env = \"FAR_KEY\", secret_access_key_env = \"FAR_SECRET\" }}\n\
         price = {{ writes = 1 }}\n",
        keys.endpoint
    );
    std::fs::write(served.folder.path().join("theirs.toml"), file).unwrap();
    served.json("apply -f theirs.toml");
    served.json("assimilate theirs --into s3://photos/");
    let line = "  of that lists of what lies in roots in theirs 4.3200 now, and 4.3200 then";
    let plan = text(&served, "plan");
    assert!(plan.lines().any(|told| told == line), "{plan}");
    let costs = &served.json("plan s3://photos/")["costs"];
    let upkeep =
        serde_json::json!({ "silo": "theirs", "what": "rescan", "month_before": "4.32", "month_after": "4.32" });
    assert_eq!((&costs["upkeep"], &costs["month_before"]), (&Value::from(vec![upkeep]), &"4.32".into()));
    served.stop();
    there.stop();
}
