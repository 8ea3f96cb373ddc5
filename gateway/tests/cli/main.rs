//! The program as scripts use it: what goes to stdout, what to stderr, and with what exit code it ends.

#![allow(clippy::unwrap_used, reason = "a test's helper fails like a test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

mod assimilate;
mod find;
mod labels;
mod lost;
mod objectives;
mod orders;
mod prices;
mod scrub;
mod silos;
mod switch;

const SECRET: &str = "canary/secret+of/no+worth";

/// A running `holdall serve` on free ports.
struct Served {
    folder: TempDir,
    child: Child,
    told: Value,
}

fn holdall(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdall"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HOLDALL_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

/// Messages go to a file: a pipe that nobody reads would fill up at the finest log level.
fn serve(folder: &Path, more: &[&str]) -> Command {
    let mut command = holdall(folder);
    command.args(["serve", "--json", "--data", "data", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    command.args(more).stdout(Stdio::piped()).stderr(log);
    command
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap()
}

impl Served {
    fn start(more: &[&str], env: &[(&str, &str)]) -> Self {
        Self::again(tempfile::tempdir().unwrap(), more, env)
    }

    fn again(folder: TempDir, more: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = serve(folder.path(), more).envs(env.iter().copied()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not served: {}", log(folder.path())));
        Self { folder, child, told }
    }

    /// A command that finds this gateway and signs with its key file.
    fn command(&self, line: &str) -> Command {
        let mut command = holdall(self.folder.path());
        command
            .args(line.split(' '))
            .args(["--data", "data"])
            .env("HOLDALL_ADMIN", self.told["admin"].as_str().unwrap());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Stops it as a service manager does. Answers exit code and stderr.
    fn stop(mut self) -> (Option<i32>, String, TempDir) {
        signal("-TERM", &self.child);
        let code = self.child.wait().unwrap().code();
        (code, log(self.folder.path()), self.folder)
    }
}

fn signal(which: &str, child: &Child) {
    assert!(Command::new("kill").args([which, &child.id().to_string()]).status().unwrap().success());
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_gateway_starts_answers_commands_and_stops_with_exit_code_0() {
    let served = Served::start(&[], &[]);
    assert_eq!(served.json("status")["endpoint"], served.told["endpoint"]);
    let made = served.json("account create alice");
    for field in ["access_key_id", "secret_access_key", "canonical_id"] {
        assert!(made[field].as_str().is_some_and(|value| !value.is_empty()), "{made}");
    }
    let silos = served.json("silo list");
    assert_eq!(silos.as_array().map(Vec::len), Some(2), "{silos}");
    assert_eq!(served.json("silo cordon cold")["cordoned"], true);
    assert_eq!(served.json("silo uncordon cold")["cordoned"], false);
    assert_eq!(served.json("drain hot --to cold --dry-run")["objects"], 0);
    assert!(served.json("drain hot --to cold --wait done")["state"].is_string());
    assert_eq!(served.json("sweep --now")["waiting"], 0);

    let (code, text, folder) = served.stop();
    assert_eq!(code, Some(0), "{text}");
    for line in
        ["aws configure set endpoint_url http://127.0.0.1:", "rclone config create holdall", "mc alias set holdall"]
    {
        assert!(text.contains(line), "{text}");
    }
    let kept = std::fs::read_to_string(folder.path().join("data/credentials")).unwrap();
    let secret = kept.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = ")).unwrap();
    assert!(!text.contains(secret), "a secret is shown only on a terminal");
}

#[test]
fn exit_codes_say_what_kind_of_failure_it_was_in_one_line() {
    let served = Served::start(&[], &[]);
    assert!(served.run("account create alice").status.success());
    let admin = served.told["admin"].as_str().unwrap().to_owned();
    let table = [
        ("account create alice", 4, "refused (account_exists): an account `alice` exists"),
        ("account delete admin", 4, "refused (first_account): "),
        ("account delete bob", 1, "no account `bob`"),
        ("account create a/b", 2, "`a/b` is not an account name"),
        ("job watch 77", 1, "no job 77"),
        ("where s3://photos", 2, "`s3://photos` names no object"),
        ("drain hot --to nowhere", 1, "no silo `nowhere`"),
        ("apply -f nothing.toml", 2, "cannot read `nothing.toml`: "),
    ];
    for (line, code, want) in table {
        let output = served.run(line);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        assert!(text.starts_with(&format!("holdall: {want}")) && text.lines().count() == 1, "{line}: {text}");
        assert!(output.stdout.is_empty(), "{line} writes failures to stdout");
    }
    let no_key = holdall(served.folder.path()).args(["silo", "list", "--data", "elsewhere"]).output().unwrap();
    assert_eq!(no_key.status.code(), Some(2), "{}", stderr(&no_key));
    let (.., folder) = served.stop();
    let mut gone = holdall(folder.path());
    let gone = gone.args(["silo", "list", "--data", "data", "--admin", &admin]).output().unwrap();
    assert_eq!(gone.status.code(), Some(3), "{}", stderr(&gone));
}

#[test]
fn what_is_wrong_at_the_start_is_one_line_and_no_port_opens() {
    // Broken files ended with 1 here, and with 2 when they were applied.
    let table = [
        ("[silo.hot]\nulr = \"file:hot\"\n", 2, "wrong.toml:2:1: unknown field `silo.hot.ulr`; did you mean `url`?"),
        ("[silo.s]\nurl = \"s3://bucket?endpoint=http://127.0.0.1:1\"\n", 1, "silo `s`: "),
        ("[silo.s]\nurl = \"ftp://b\"\n", 2, "silo.s.url: "),
        ("[write]\nto = [\"nowhere\"]\n", 2, "write"),
        ("[log]\nlevel = \"loud\"\n", 2, "log level `loud` is not `error`, `warn`, "),
        ("region = \"us east\"\n", 2, "region `us east` is not 1 to 64 of "),
        ("[backup]\nevery = \"100ms\"\n", 2, "backup.every `100ms` is not a time from 1s to 31d, "),
        ("[backup]\nkeep = \"1h\"\n", 2, "backup.keep `1h` is not a time from what backup.every says to "),
        ("domains = [\"s3.example.org:9000\"]\n", 2, "domain `s3.example.org:9000` is not a host's name"),
    ];
    for (file, code, want) in table {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wrong.toml"), file).unwrap();
        let env = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")];
        let output = serve(folder.path(), &["--config", "wrong.toml"]).envs(env).output().unwrap();
        let text = log(folder.path());
        assert_eq!(output.status.code(), Some(code), "{file}: {text}");
        assert!(output.stdout.is_empty(), "{file}");
        let last = text.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("holdall: {want}")), "{file}: {text}");
    }
}

/// With `--log-format json` the banner for people stood between the lines of JSON.
#[test]
fn a_log_in_json_is_nothing_but_json() {
    let served = Served::start(&["--log-format", "json"], &[]);
    let endpoint = served.told["endpoint"].clone();
    let (code, text, folder) = served.stop();
    assert_eq!(code, Some(0), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let serving = lines.iter().find(|line| line["message"] == "serving").unwrap();
    assert_eq!(serving["s3"], endpoint);
    let kept = std::fs::read_to_string(folder.path().join("data/credentials")).unwrap();
    let secret = kept.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = ")).unwrap();
    assert!(!text.contains(secret), "a secret is in the log");
}

/// The first key was replaced by the environment's, and a folder that everybody may read was used, without a word.
#[test]
fn what_an_owner_should_know_at_the_start_is_in_the_log() {
    use std::os::unix::fs::PermissionsExt;
    let (.., folder) = Served::start(&[], &[]).stop();
    let data = folder.path().join("data");
    assert!(!log(folder.path()).contains("others than the owner"));
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let env = [("HOLDALL_ACCESS_KEY_ID", "CANARYKEY"), ("HOLDALL_SECRET_ACCESS_KEY", SECRET)];
    let (code, text, folder) = Served::again(folder, &[], &env).stop();
    assert_eq!(code, Some(0), "{text}");
    let warned = text.lines().find(|line| line.contains("others than the owner may read or write this")).unwrap();
    assert!(warned.contains("path=data") && warned.contains("0755"), "{warned}");
    let replaced = |text: &str| text.matches("the first key was replaced").count();
    assert_eq!(replaced(&text), 1, "{text}");
    assert!(!text.contains(SECRET), "{text}");
    let (_, text, _) = Served::again(folder, &[], &env).stop();
    assert_eq!(replaced(&text), 1, "the same key again replaces nothing: {text}");
}

/// Whoever lost the data folder had backups of the index in every silo, and nothing that opens them.
#[test]
fn a_sealing_key_that_is_lost_with_the_index_is_named_at_the_start_where_there_are_backups() {
    let warnings = |more: &[&str]| {
        let (code, text, _) = Served::start(more, &[]).stop();
        assert_eq!(code, Some(0), "{text}");
        let warned = text.lines().filter(|line| line.contains("backups of the index are sealed with this file"));
        warned.map(str::to_owned).collect::<Vec<_>>()
    };
    let warned = warnings(&[]);
    assert!(warned.len() == 1 && warned[0].contains("WARN") && warned[0].contains("path=data/seal.key"), "{warned:?}");
    assert!(warnings(&["--seal-key", "elsewhere.key"]).is_empty());
    assert!(warnings(&["--backup-every", "0s"]).is_empty());
}

/// The names of the pieces of backups that a silo below the data folder has.
fn pieces(folder: &Path, silo: &str) -> Vec<String> {
    let folders = std::fs::read_dir(folder.join("data").join(silo).join("blobs/0000000000")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

/// An index that was lost with its disk was lost for good.
#[test]
fn a_backup_of_the_index_is_in_two_silos_when_it_is_said_to_be() {
    let served = Served::start(&[], &[]);
    store(&served, 1);
    let taken = served.json("index backup");
    assert!(taken["rows"].as_u64().is_some_and(|rows| rows > 0), "{taken}");
    assert_eq!(taken["silos"].as_array().map(Vec::len), Some(2), "{taken}");
    let of_snapshots = |silo| pieces(served.folder.path(), silo).iter().filter(|name| name.starts_with('8')).count();
    assert!(of_snapshots("hot") >= 2 && of_snapshots("cold") >= 2, "rows and what says that they are all");

    let index = served.json("index show");
    let backup = &index["backup"];
    assert!(index["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{index}");
    assert_eq!((&index["keeps_unknown"], &backup["enabled"]), (&Value::Bool(false), &Value::Bool(true)), "{index}");
    assert_eq!(backup["problem"], Value::Null, "{index}");
    let time = |of: &Value| of.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time(&backup["snapshot"]) >= time(&taken["at"]), "{index} {taken}");
    assert!(time(&backup["covered"]) >= time(&backup["snapshot"]), "{index}");
    assert!(time(&served.json("status")["backup"]["covered"]) >= time(&backup["covered"]));
    assert_eq!(served.json("index accept")["accepted"], false);

    let shown = |line: &str| String::from_utf8(served.run(line).stdout).unwrap();
    assert!(shown("index backup").starts_with("took a snapshot: "));
    let text = shown("index show");
    assert!(text.contains("backups    on\n") && text.contains("unknown    swept\n"), "{text}");
    assert!(shown("status").contains("backup     up to "));
    assert_eq!(served.json("check --deep")["checked"]["findings"], 0);
    served.stop();
}

#[test]
fn no_silo_has_a_backup_of_the_index_where_they_are_switched_off() {
    let served = Served::start(&["--backup-every", "0s"], &[]);
    store(&served, 1);
    let output = served.run("index backup");
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("holdall: refused (backups_off): "), "{}", stderr(&output));
    assert_eq!(served.json("index show")["backup"]["enabled"], false);
    assert!(String::from_utf8(served.run("status").stdout).unwrap().contains("backup     off\n"));
    let (code, text, folder) = served.stop();
    assert_eq!(code, Some(0), "{text}");
    for silo in ["hot", "cold"] {
        assert!(!folder.path().join("data").join(silo).join("blobs/0000000000").exists());
    }
}

/// What a person types after the index was lost, with everything else still in the data folder; and what it is told where
/// that cannot go well.
#[test]
fn a_lost_index_is_restored_or_it_is_said_why_not() {
    let served = Served::start(&[], &[]);
    store(&served, 3);
    let (.., folder) = served.stop();
    let run = |line: &str| holdall(folder.path()).args(line.split(' ')).output().unwrap();
    let refused = |line: &str, code: i32, why: &str| {
        let output = run(line);
        assert_eq!(output.status.code(), Some(code), "{line}: {}", stderr(&output));
        assert!(stderr(&output).contains(why), "{line}: {}", stderr(&output));
    };
    refused("index restore --data data", 2, "there is an index already, `data/index.redb`: move it away first");
    let (index, lost) = (folder.path().join("data/index.redb"), folder.path().join("lost.redb"));
    std::fs::rename(&index, &lost).unwrap();
    refused("index restore --data data --seal-key none.key", 2, "none.key");
    refused("index restore --data data --from file:///nowhere", 1, "no silo to look in: `file:///nowhere`");
    refused("index restore --data data --at 2001-01-01T00:00:00Z", 1, "from before that moment");
    refused("index restore --data data --at yesterday", 2, "--at");
    std::fs::write(folder.path().join("other.key"), [9; 32]).unwrap();
    refused("index restore --data data --seal-key other.key", 1, "sealed with another key");
    let tried = run("index restore --data data --dry-run");
    assert!(tried.status.success() && !index.exists(), "{}", stderr(&tried));

    let restored = run("index restore --data data --json");
    assert!(restored.status.success(), "{}", stderr(&restored));
    let first = String::from_utf8(restored.stdout).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(first["restored"]["flaws"], Value::Array(Vec::new()), "{first}");
    let names = |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder.path().join("data")), ["cold", "credentials", "hot", "index.redb", "seal.key"]);
    let served = Served::again(folder, &[], &[]);
    assert_eq!(served.json("du")["buckets"][0]["objects"], 3, "{}", served.json("du"));
    assert_eq!(served.json("check --deep")["checked"]["findings"], 0);
    assert_eq!(served.json("index show")["keeps_unknown"], true);
    assert_eq!(served.json("index accept")["accepted"], true);
    let (.., folder) = served.stop();

    // Nothing but the bytes is left.
    std::fs::remove_file(&index).unwrap();
    for silo in ["hot", "cold"] {
        std::fs::remove_dir_all(folder.path().join("data").join(silo).join("blobs/0000000000")).unwrap();
    }
    let output = holdall(folder.path()).args(["index", "restore", "--data", "data"]).output().unwrap();
    assert!(stderr(&output).contains("no backup of an index lies in `cold`, `hot`"), "{}", stderr(&output));
    let output = holdall(folder.path()).args(["index", "rebuild", "--data", "data"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("3 extents are objects now"), "{text}");
    std::fs::remove_file(folder.path().join("data/credentials")).unwrap();
    let served = Served::again(folder, &[], &[]);
    assert_eq!(served.json("du")["buckets"][0]["objects"], 3);
    assert_eq!(served.json("check --deep")["checked"]["findings"], 0);
    served.stop();
}

/// `check` of a stopped folder is read-only: what it commits while it is open is backed up by the next life.
#[test]
fn checking_a_stopped_folder_writes_no_piece_of_a_backup() {
    let served = Served::start(&[], &[]);
    served.json("index backup");
    let (.., folder) = served.stop();
    let count = |folder: &Path| pieces(folder, "hot").len() + pieces(folder, "cold").len();
    let before = count(folder.path());
    let checked = holdall(folder.path()).args(["check", "--data", "data"]).output().unwrap();
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert_eq!(count(folder.path()), before);
}

/// `holdall demo` drained a silo of the gateway that `HOLDALL_ADMIN` named, and left its bucket there after Ctrl-C.
#[test]
fn the_demo_leaves_a_gateway_of_the_environment_alone_and_one_it_was_given_as_it_was() {
    let served = Served::start(&[], &[]);
    let temporary = tempfile::tempdir().unwrap();
    let mut own = served.command("demo --objects 20 --seconds 1 --json");
    let output = own.env("TMPDIR", temporary.path()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(served.json("job list"), Value::Array(Vec::new()));

    let admin = served.told["admin"].as_str().unwrap().to_owned();
    let mut given = served.command("demo --objects 60 --seconds 3600");
    let given = given.args(["--admin", &admin]).stderr(Stdio::piped()).spawn().unwrap();
    while served.json("job list").as_array().is_none_or(Vec::is_empty) {}
    signal("-INT", &given);
    let output = given.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(served.json("job list")[0]["state"], "cancelled");
    assert_eq!(served.json("du")["buckets"], Value::Array(Vec::new()));
    let silos = served.json("silo list");
    assert!(silos.as_array().unwrap().iter().all(|silo| silo["cordoned"] == false), "{silos}");
    served.stop();
}

/// The S3 port's XML was printed when `--admin` named it.
#[test]
fn the_wrong_port_is_called_the_s3_port() {
    let served = Served::start(&[], &[]);
    let endpoint = served.told["endpoint"].as_str().unwrap();
    let output = served.command("silo list").args(["--admin", endpoint]).output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.starts_with("holdall: this address speaks S3, not the admin API") && !text.contains('<'), "{text}");
    served.stop();
}

/// S66: elsewhere secrets and presigned signatures were found in logs at the finest level.
#[test]
fn secrets_are_in_no_log_at_any_level() {
    let env = [("HOLDALL_ACCESS_KEY_ID", "CANARYKEY"), ("HOLDALL_SECRET_ACCESS_KEY", SECRET)];
    let served = Served::start(&["--log-level", "trace"], &env);
    let mut command = served.command("account create alice --json");
    let made = command.envs(env).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let (code, text, folder) = served.stop();
    assert_eq!(code, Some(0));
    assert!(text.contains("TRACE"), "the log at trace is empty");
    assert!(!text.contains(SECRET), "the first key's secret is in the log");
    assert!(!text.contains(made["secret_access_key"].as_str().unwrap()), "an account's secret is in the log");
    assert!(!folder.path().join("data/credentials").exists(), "a key from the environment is not written down");
}

#[test]
fn a_job_outlives_the_command_line_and_a_restart() {
    let served = Served::start(&[], &[]);
    let id = served.json("drain hot --to cold --detach")["id"].as_u64().unwrap();
    assert_eq!(served.json("job list")[0]["id"], id);
    let (code, text, folder) = served.stop();
    assert_eq!(code, Some(0), "{text}");
    let served = Served::again(folder, &[], &[]);
    assert_eq!(served.json("job list")[0]["id"], id);
    // An empty silo is drained at once; whoever watches is told so.
    let watched = served.run(&format!("job watch {id} --json"));
    assert!(watched.status.success(), "{}", stderr(&watched));
    let last = String::from_utf8(watched.stdout).unwrap();
    let last: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!(last["job"]["id"], id);
    assert!(last["moves"].is_array());
    served.stop();
}

#[test]
fn the_sample_can_be_served_and_applied() {
    let folder = tempfile::tempdir().unwrap();
    let sample = holdall(folder.path()).args(["config", "--sample"]).output().unwrap();
    assert!(sample.status.success());
    std::fs::write(folder.path().join("sample.toml"), &sample.stdout).unwrap();
    let served = Served::again(folder, &["--config", "sample.toml"], &[]);
    let changes = served.json("apply -f sample.toml");
    assert_eq!(changes["changes"], Value::Array(Vec::new()));
    let more = "[silo.third]\nurl = \"file:third\"\n[bucket.logs.write]\nto = [\"third\", \"cold\"]\n";
    std::fs::write(served.folder.path().join("more.toml"), more).unwrap();
    let dry = served.json("apply -f more.toml --dry-run");
    assert_eq!(dry["changes"].as_array().map(Vec::len), Some(2), "{dry}");
    assert_eq!(served.json("silo list").as_array().map(Vec::len), Some(2));
    assert_eq!(served.json("apply -f more.toml")["changes"], dry["changes"]);
    assert_eq!(served.json("apply -f more.toml")["changes"], Value::Array(Vec::new()));
    assert_eq!(served.json("silo list").as_array().map(Vec::len), Some(3));
    served.stop();
}

#[test]
fn ctrl_c_detaches_from_a_job_that_goes_on_until_it_is_cancelled() {
    let served = Served::start(&[], &[]);
    store(&served, 3);
    // At one byte a second the job is still there, whenever the signal comes.
    let mut drain = served.command("drain hot --to cold --rate 1 --concurrency 1");
    let drain = drain.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = loop {
        if let Some(id) = served.json("job list")[0]["id"].as_u64() {
            break id;
        }
    };
    signal("-INT", &drain);
    let output = drain.wait_with_output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.starts_with(&format!("holdall: detached: job {id} goes on")), "{text}");
    assert_eq!(served.json("job list")[0]["state"], "running");
    assert_eq!(served.json(&format!("job cancel {id}"))["state"], "cancelled");
    let watched = served.run(&format!("job watch {id}"));
    assert_eq!(watched.status.code(), Some(1), "{}", stderr(&watched));
    let (code, text, _) = served.stop();
    assert_eq!(code, Some(0), "{text}");
}

/// Puts objects of 100 KiB into a bucket `photos`.
fn store(served: &Served, count: usize) {
    let objects = (0..count).map(|number| (format!("/photos/{number}"), 100 << 10));
    put(served, &std::iter::once(("/photos".to_owned(), 0)).chain(objects).collect::<Vec<_>>());
}

/// Puts what there is at these paths, so many bytes each; a bucket is put without any.
fn put(served: &Served, all: &[(String, usize)]) {
    use holdall::cli::client::{Endpoint, Speak};
    use holdall::cli::credentials::KeyFile;
    let file = KeyFile::read(&served.folder.path().join("data")).unwrap().unwrap();
    let clock = std::sync::Arc::new(holdall_namespace::clock::SystemClock::new());
    let s3 = Endpoint::new(&file.endpoint, Speak::S3, &file.region, file.keys, clock).unwrap();
    let put = async |path: &str, body: Vec<u8>| {
        let response = s3.send(http::Method::PUT, path, &[], body.into()).await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        for (number, (path, size)) in all.iter().enumerate() {
            put(path, vec![number as u8; *size]).await;
        }
    });
}

#[test]
fn the_demo_shows_that_nobody_notices_a_move() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = holdall(folder.path());
    let demo = demo.args(["demo", "--objects", "60", "--seconds", "1", "--json"]).env("TMPDIR", folder.path());
    let output = demo.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    for field in ["failed_reads", "failed_writes", "changed_etags", "left_in_source"] {
        assert_eq!(told[field], 0, "{told}");
    }
    assert!(told["objects_moved"].as_u64().is_some_and(|moved| moved > 0), "{told}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the demo leaves its folder behind");
}
