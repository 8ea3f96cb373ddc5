//! A bucket of others: another Holdall, filled with objects that have headers and metadata.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdall_conformance::client::{Client, Endpoint};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use holdall_conformance::wire::{Body, collect};
use holdall_conformance::{Outcome, say};
use http::StatusCode;
use tokio::task::JoinSet;

use super::SEEN;

const THEIRS: &str = "theirs";
const OURS: &str = "ours";
const CLIENTS: u64 = 16;
const ASKING: u64 = 1000;
/// What others do is seen by then.
const LOOK: Duration = Duration::from_millis(100);

/// What a client sees of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    etag: String,
    modified: String,
    kind: String,
    kept: String,
    bytes: bytes::Bytes,
}

struct House {
    theirs: Gateway,
    ours: Gateway,
    /// What others' server was asked for.
    log: PathBuf,
}

/// Takes it over, follows it, moves it away; answers what was seen. `asked`: while many clients ask for the same keys.
pub(super) async fn run(folder: &Path, objects: u64, asked: bool) -> Outcome<String> {
    let house = House::start(folder).await?;
    house.fill(objects).await?;
    let bare = house.list_theirs(objects).await?;
    let took = house.take_over(objects, asked).await?;
    house.same(objects).await?;
    house.changed(objects).await?;
    let drained = house.ours.setup.command().json(&["drain", "others", "--to", "hot"]).await?;
    house.same(objects).await?;
    let House { theirs, ours, .. } = house;
    theirs.stop().await?;
    ours.stop().await?;
    Ok(format!(
        "; {objects} keys of another's bucket at {:.0} a second, {:.1} times as long as a list, {} extents moved",
        objects as f64 / took.as_secs_f64(),
        took.as_secs_f64() / bare.as_secs_f64(),
        drained["moved_objects"]
    ))
}

fn key(number: u64) -> String {
    format!("data/{:03}/object {number:07}+%2F", number % 100)
}

impl House {
    async fn start(folder: &Path) -> Outcome<Self> {
        let (mut theirs, log) = (Setup::new(&folder.join("theirs"))?, folder.join("theirs-access.log"));
        theirs.env.push(("HOLDALL_ACCESS_LOG".to_owned(), log.display().to_string()));
        let theirs = theirs.start().await?;
        Client::new(&theirs.setup.endpoint()).create_bucket(THEIRS).await?;
        let mut setup = Setup::new(&folder.join("ours"))?;
        let Setup { listen, access_key_id, secret_access_key, .. } = theirs.setup.clone();
        setup.env.extend([("THEIR_KEY".to_owned(), access_key_id), ("THEIR_SECRET".to_owned(), secret_access_key)]);
        setup.config = Some(format!(
            "{NO_GRACE}[silo.hot]\nurl = \"file:hot\"\n[write]\nto = [\"hot\"]\n[silo.others]\n\
             url = \"s3://{THEIRS}/data?endpoint=http://{listen}&region=us-east-1\"\naccess = \"read-only\"\n\
             credentials = {{ access_key_id_env = \"THEIR_KEY\", secret_access_key_env = \"THEIR_SECRET\" }}\n"
        ));
        let ours = setup.start().await?;
        Client::new(&ours.setup.endpoint()).create_bucket(OURS).await?;
        Ok(Self { theirs, ours, log })
    }

    async fn fill(&self, objects: u64) -> Outcome<()> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let endpoint = self.theirs.setup.endpoint();
            clients.spawn(async move {
                let mut theirs = Client::new(&endpoint);
                for number in (0..objects).filter(|number| number % CLIENTS == client) {
                    put(&mut theirs, number, "first").await.map_err(|error| error.to_string())?;
                }
                Ok::<_, String>(())
            });
        }
        while let Some(done) = clients.join_next().await {
            done??;
        }
        Ok(())
    }

    /// How long a bare list of it takes.
    async fn list_theirs(&self, objects: u64) -> Outcome<Duration> {
        let watch = Stopwatch::start();
        let listed = list(&self.theirs.setup.endpoint(), THEIRS, "data/").await?;
        if listed.len() as u64 == objects {
            Ok(watch.elapsed())
        } else {
            Err("the bucket of others is not full".into())
        }
    }

    async fn take_over(&self, objects: u64, asked: bool) -> Outcome<Duration> {
        let (watch, holdall) = (Stopwatch::start(), self.ours.setup.command());
        let args = ["assimilate", "others", "--into", "s3://ours/data/", "--every", "1s", "--detach"];
        holdall.json(&args).await?;
        if asked {
            self.asked_at_once(objects).await?;
        }
        let root = loop {
            let root = holdall.json(&["assimilate", "status"]).await?[0].clone();
            if root["complete"] == true {
                break root;
            }
            if watch.over(SEEN) {
                return Err(format!("the first pass does not end: {root}").into());
            }
            tokio::time::sleep(LOOK / 5).await;
        };
        let took = watch.elapsed();
        if root["counts"]["names"] != objects {
            return Err(format!("not all were taken over: {root}").into());
        }
        Ok(took)
    }

    /// A thousand clients ask for one key that no pass came to yet, and a thousand for one that is not there: each is looked
    /// for once.
    async fn asked_at_once(&self, objects: u64) -> Outcome<()> {
        for (key, there) in [(key(objects - 1), true), ("data/none".to_owned(), false)] {
            let mut clients = JoinSet::new();
            for _ in 0..ASKING {
                let (mut client, key) = (Client::new(&self.ours.setup.endpoint()), key.clone());
                clients.spawn(async move {
                    let answer = client.get(OURS, &key, None).await;
                    match answer.map_err(|error| (error.status(), error.to_string())) {
                        Ok(_) if there => Ok(()),
                        Err((Some(StatusCode::NOT_FOUND), _)) if !there => Ok(()),
                        Ok(_) => Err(format!("{key} is there")),
                        Err((_, error)) => Err(format!("{key}: {error}")),
                    }
                });
            }
            while let Some(done) = clients.join_next().await {
                done??;
            }
            let looks = self.looks(&key).await?;
            if looks > 1 {
                return Err(format!("{key} was looked for {looks} times for {ASKING} clients").into());
            }
            say::progress(format!("{ASKING} clients asked for {key}: it was looked for {looks} times"));
        }
        Ok(())
    }

    /// HEADs of a key that others' server answered.
    async fn looks(&self, key: &str) -> Outcome<usize> {
        // The log is written behind the answers.
        tokio::time::sleep(LOOK).await;
        let log = std::fs::read_to_string(&self.log)?;
        let name = key.rsplit('/').next().unwrap_or_default().replace(' ', "%20").replace('+', "%2B");
        Ok(log.lines().filter(|line| line.contains("REST.HEAD.OBJECT") && line.contains(&name)).count())
    }

    /// Both show the same: every key and `ETag`, and of some the bytes, headers and metadata.
    async fn same(&self, objects: u64) -> Outcome<()> {
        let (theirs, ours) = (self.theirs.setup.endpoint(), self.ours.setup.endpoint());
        let (one, other) = (list(&theirs, THEIRS, "data/").await?, list(&ours, OURS, "data/").await?);
        if one != other {
            return Err(format!("{} keys of others, {} of ours, or other ETags", one.len(), other.len()).into());
        }
        let (mut theirs, mut ours) = (Client::new(&theirs), Client::new(&ours));
        for number in (0..objects).step_by(1 + objects as usize / 200) {
            let (one, other) = (see(&mut theirs, THEIRS, number).await?, see(&mut ours, OURS, number).await?);
            if one != other {
                return Err(format!("{}: {one:?} of others, {other:?} of ours", key(number)).into());
            }
        }
        Ok(())
    }

    /// Others overwrite, delete and add.
    async fn changed(&self, objects: u64) -> Outcome<()> {
        let mut theirs = Client::new(&self.theirs.setup.endpoint());
        for number in 0..5 {
            put(&mut theirs, number, "second").await?;
            theirs.delete(THEIRS, &key(objects / 2 + number)).await?;
            put(&mut theirs, objects + number, "added").await?;
        }
        let (watch, ours) = (Stopwatch::start(), self.ours.setup.endpoint());
        let wanted = list(&self.theirs.setup.endpoint(), THEIRS, "data/").await?;
        while list(&ours, OURS, "data/").await? != wanted {
            if watch.over(SEEN) {
                return Err("what others changed is not followed".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        self.filled().await
    }

    /// Headers are there, and it may move.
    async fn filled(&self) -> Outcome<()> {
        let watch = Stopwatch::start();
        while self.ours.setup.command().run(&["drain", "others", "--to", "hot", "--dry-run"]).await?.code != 0 {
            if watch.over(SEEN) {
                return Err("its headers are not all asked for".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

async fn put(client: &mut Client, number: u64, which: &str) -> Outcome<()> {
    let (text, kept) = (format!("{which} {number} ").repeat(1 + number as usize % 300), format!("{which}-{number}"));
    let headers = [("content-type", "text/x-others"), ("x-amz-meta-kept", kept.as_str())];
    client.put(THEIRS, &key(number), &headers, Body::Whole(text.into())).await?;
    Ok(())
}

/// Keys and `ETag`s.
async fn list(endpoint: &Endpoint, bucket: &str, prefix: &str) -> Outcome<BTreeMap<String, String>> {
    let all = Client::new(endpoint).list_all(bucket, prefix).await?;
    Ok(all.into_iter().map(|found| (found.key, found.etag)).collect())
}

/// What is there; none where nothing is.
async fn see(client: &mut Client, bucket: &str, number: u64) -> Outcome<Option<Seen>> {
    let answer = match client.get(bucket, &key(number), None).await {
        Ok(answer) => answer,
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let header =
        |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (etag, modified, kind, kept) =
        (header("etag"), header("last-modified"), header("content-type"), header("x-amz-meta-kept"));
    Ok(Some(Seen { etag, modified, kind, kept, bytes: collect(answer.into_body()).await? }))
}
