//! The same files copied by rclone to the same server and back, to have something to compare with.

use std::path::Path;

use holdall_conformance::Outcome;
use holdall_conformance::client::Client;
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::Gateway;
use holdall_conformance::{rclone, say};

use super::{Objects, requests};

const BUCKET: &str = "by-rclone";

/// Copies so many of the objects there and back; answers rates and requests. `RCLONE` names the program.
pub(super) async fn copy(objects: &Objects, count: u64, server: &Gateway, folder: &Path) -> Outcome<String> {
    write(objects, count, &folder.join("there"))?;
    Client::new(&server.setup.endpoint()).create_bucket(BUCKET).await?;
    let bucket = format!("s:{BUCKET}");
    let mut said = Vec::new();
    for (from, to) in [
        (folder.join("there").display().to_string(), bucket.clone()),
        (bucket, folder.join("back").display().to_string()),
    ] {
        let (before, watch) = (requests(server).await?, Stopwatch::start());
        let status = rclone::run(&server.setup, &["copy", &from, &to, "--transfers", "64", "--checkers", "64"]).await?;
        if !status.success() {
            return Err(format!("rclone ends with {status}").into());
        }
        let (time, asked) = (watch.elapsed().as_secs_f64(), requests(server).await? - before);
        let line = format!(
            "rclone from {}: {:.0} objects/s, {asked} requests",
            from.rsplit('/').next().unwrap_or_default(),
            count as f64 / time
        );
        say::progress(line.clone());
        said.push(line);
    }
    Ok(said.join(", "))
}

fn write(objects: &Objects, count: u64, folder: &Path) -> Outcome<()> {
    for number in 0..count {
        let path = folder.join(Objects::key(number));
        std::fs::create_dir_all(path.parent().ok_or("a key has a folder")?)?;
        std::fs::write(path, objects.payload(number).bytes(0, usize::MAX >> 1))?;
    }
    Ok(())
}
