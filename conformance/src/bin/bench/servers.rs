//! The servers of a run, the matrix, and the ratios that are promised.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdall_conformance::client::{Client, Endpoint};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup, free_address};
use holdall_conformance::pace::median;
use holdall_conformance::sign::Signer;
use holdall_conformance::{Outcome, process, say, settle};
use tokio::process::{Child, Command};

use super::Options;
use super::loads::{self, BUCKET, Load};
use super::rate::{Rate, sample};
use super::reference;
use super::report::{Ratio, Report};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// A server that is measured.
pub(super) struct Target {
    /// Its name in tables.
    pub(super) name: String,
    /// Where it is.
    pub(super) endpoint: Endpoint,
    /// Its process, where known.
    pid: Option<u32>,
    /// Objects are files below this folder: a static server.
    pub(super) files: Option<PathBuf>,
    prepared: Mutex<HashSet<String>>,
    /// Ends with this.
    child: Option<Child>,
}

impl Drop for Target {
    fn drop(&mut self) {
        // nginx's workers outlive a master that is killed, not one that is asked to stop.
        if let Some(pid) = self.child.as_ref().and_then(|child| rustix::process::Pid::from_raw(child.id()? as i32)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Target {
    fn new(name: &str, endpoint: Endpoint, pid: Option<u32>) -> Self {
        Self { name: name.to_owned(), endpoint, pid, files: None, prepared: Mutex::default(), child: None }
    }

    /// Whether something is prepared for the first time.
    pub(super) fn first(&self, what: &str) -> bool {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned())
    }

    /// Its process and that one's children.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.pid.iter().flat_map(|pid| std::iter::once(*pid).chain(process::children(*pid))).collect()
    }
}

/// Starts what was asked for, measures, tells.
pub(super) async fn run(options: &Options) -> Outcome<()> {
    let temp = tempfile::Builder::new().prefix("holdall-bench-").tempdir()?;
    let folder = options.folder.clone().unwrap_or_else(|| temp.path().to_owned());
    std::fs::create_dir_all(&folder)?;
    let mut report = Report::default();
    let mut targets = Vec::new();
    let mut own = None;
    if !options.without_own {
        let mut setup = Setup::new(&folder.join("data"))?;
        setup.config = Some(format!("{NO_GRACE}[log]\nlevel = \"warn\"\n"));
        let gateway = setup.start().await?;
        let mut endpoint = setup.endpoint();
        endpoint.sign_payload = options.sign_payload;
        targets.push(Target::new("holdall", endpoint, Some(gateway.pid())));
        own = Some(gateway);
    }
    for text in &options.endpoints {
        targets.push(peer(text, options.sign_payload)?);
    }
    for target in &targets {
        Client::new(&target.endpoint).create_bucket(BUCKET).await?;
        if options.preload > 0 && target.first("many") {
            let watch = Stopwatch::start();
            loads::fill_many(target, options.preload).await?;
            let rate = options.preload as f64 / watch.elapsed().as_secs_f64();
            say::progress(format!("{}: {} rows in random order, {rate:.0}/s", target.name, options.preload));
        }
    }
    if options.matrix || own.is_none() {
        matrix(options, &targets, &mut report).await?;
    }
    if let Some(gateway) = own.as_ref().filter(|_| !options.matrix) {
        Ratios { options, own: &targets[0], peers: &targets[1..], gateway, folder: &folder, report: &mut report }
            .all()
            .await?;
    }
    report.tell(options.json.as_deref())?;
    if let Some(gateway) = own {
        gateway.stop().await?;
    }
    Ok(())
}

fn peer(text: &str, sign_payload: bool) -> Outcome<Target> {
    let (name, rest) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=URL[,PID]"))?;
    let (url, pid) = rest.split_once(',').map_or((rest, None), |(url, pid)| (url, Some(pid)));
    let address = url.strip_prefix("http://").ok_or_else(|| format!("`{url}` does not begin with http://"))?;
    let key = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let signer = Signer::new(&key("AWS_ACCESS_KEY_ID")?, &key("AWS_SECRET_ACCESS_KEY")?, "us-east-1");
    let endpoint = Endpoint { address: address.trim_end_matches('/').to_owned(), signer: Some(signer), sign_payload };
    Ok(Target::new(name, endpoint, pid.map(str::parse).transpose()?))
}

async fn matrix(options: &Options, targets: &[Target], report: &mut Report) -> Outcome<()> {
    for load in loads::ALL.iter().filter(|load| options.wants(&load.name())) {
        let load = Arc::new(*load);
        for clients in &options.concurrency {
            // Large bodies at large concurrency would measure this machine's memory.
            if load.is_bulk() && *clients > 8 && load.budget(1) < 1000 {
                continue;
            }
            for target in targets {
                let rate = sample(target, &load, *clients, options.sample()).await?;
                report.add(&target.name, &load.name(), *clients, rate);
            }
        }
    }
    Ok(())
}

struct Ratios<'a> {
    options: &'a Options,
    own: &'a Target,
    peers: &'a [Target],
    gateway: &'a Gateway,
    folder: &'a Path,
    report: &'a mut Report,
}

impl Ratios<'_> {
    async fn all(&mut self) -> Outcome<()> {
        self.against_nginx().await?;
        self.against_hello().await?;
        self.against_disk().await?;
        self.against_md5().await?;
        self.listings().await?;
        self.copies().await?;
        self.against_peers().await?;
        self.moves().await
    }

    async fn measure(&mut self, target: &Target, load: Load, clients: usize) -> Outcome<Rate> {
        let rate = sample(target, &Arc::new(load), clients, self.options.sample()).await?;
        self.report.add(&target.name, &load.name(), clients, rate.clone());
        Ok(rate)
    }

    /// Ours and another's by turns.
    async fn pairs(&mut self, other: &Target, load: Load, clients: usize) -> Outcome<Vec<(Rate, Rate)>> {
        let mut pairs = Vec::new();
        for round in 0..self.options.rounds {
            // Who goes first changes: what the first leaves behind must not always meet the same one.
            let own = self.own;
            pairs.push(if round % 2 == 0 {
                let first = self.measure(own, load, clients).await?;
                (first, self.measure(other, load, clients).await?)
            } else {
                let first = self.measure(other, load, clients).await?;
                (self.measure(own, load, clients).await?, first)
            });
        }
        Ok(pairs)
    }

    fn ratio(&mut self, name: &str, ratios: Vec<f64>, at_most: bool, bound: f64, figures: String) {
        let ratio = Ratio { name: name.to_owned(), median: median(ratios), bound, at_most, figures };
        say::progress(format!("{}: {:.2} ({})", ratio.name, ratio.median, if ratio.holds() { "ok" } else { "MISSED" }));
        self.report.ratios.push(ratio);
    }

    fn wants(&self, name: &str) -> bool {
        self.options.wants(name)
    }

    async fn against_nginx(&mut self) -> Outcome<()> {
        let loads = [(Load::Get(4 * KIB), 32), (Load::Get(MIB), 8), (Load::Get(64 * MIB), 4)];
        let loads: Vec<_> = loads.into_iter().filter(|(load, _)| self.wants(&load.name())).collect();
        if loads.is_empty() {
            return Ok(());
        }
        let Some(nginx) = nginx(&self.folder.join("nginx")).await? else {
            say::progress("nginx is not installed: its ratios are left out");
            return Ok(());
        };
        for (load, clients) in loads {
            let pairs = self.pairs(&nginx, load, clients).await?;
            let name = load.name();
            if load.is_bulk() {
                let cpu = pairs.iter().map(|(a, b)| a.cpu_per_gib() / b.cpu_per_gib()).collect();
                let figures = words(&pairs, "s/GiB", Rate::cpu_per_gib);
                self.ratio(&format!("{name}: CPU against nginx without sendfile"), cpu, true, 1.5, figures);
            } else {
                let rate = pairs.iter().map(|(a, b)| a.per_second() / b.per_second()).collect();
                let figures = words(&pairs, "/s", Rate::per_second);
                self.ratio(&format!("{name}: requests against nginx"), rate, false, 0.7, figures);
                let cpu = pairs.iter().map(|(a, b)| a.cpu_us() / b.cpu_us()).collect();
                let figures = words(&pairs, "µs", Rate::cpu_us);
                self.ratio(&format!("{name}: CPU against nginx"), cpu, true, 1.5, figures);
            }
        }
        Ok(())
    }

    async fn against_hello(&mut self) -> Outcome<()> {
        if !self.wants("HEAD") {
            return Ok(());
        }
        let address = free_address()?;
        let child = Command::new(std::env::current_exe()?).args(["--hello", &address]).kill_on_drop(true).spawn()?;
        let endpoint = Endpoint { address: address.clone(), ..self.own.endpoint.clone() };
        let mut hello = Target::new("hello", endpoint, child.id());
        hello.files = Some(self.folder.join("hello"));
        hello.child = Some(child);
        answers(&address).await?;
        let pairs = self.pairs(&hello, Load::Head, 32).await?;
        // What reading a row costs beside HTTP: 4 µs, measured with 10^6 rows in cache.
        let cpu = pairs.iter().map(|(a, b)| a.cpu_us() / (b.cpu_us() + 4.0)).collect();
        let figures = words(&pairs, "µs", Rate::cpu_us);
        self.ratio("HEAD: CPU against an empty answer and an index read", cpu, true, 1.4, figures);
        Ok(())
    }

    async fn against_disk(&mut self) -> Outcome<()> {
        let name = "PUT 4 KiB: rate against bare durable files, 64 threads";
        if !self.wants(name) {
            return Ok(());
        }
        let (mut ratios, mut ours, mut theirs, mut places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut against_log, mut logs) = (Vec::new(), Vec::new());
        for round in 0..self.options.rounds {
            let place = self.folder.join(format!("files-{round}"));
            std::fs::create_dir_all(&place)?;
            let limit = self.options.sample();
            let bare = tokio::task::spawn_blocking({
                let place = place.clone();
                move || reference::durable_files(&place, 4 << 10, 64, limit)
            })
            .await??;
            let rate = self.measure(self.own, Load::Put(4 * KIB), 64).await?.per_second();
            let log = reference::group_log(self.folder, 4 << 10, 64, self.options.sample())?;
            ratios.push(rate / bare);
            against_log.push(rate / log);
            ours.push(rate);
            theirs.push(bare);
            logs.push(log);
            places.push(place);
        }
        remove_at_last(&places)?;
        let (ours, theirs, logs) = (median(ours), median(theirs), median(logs));
        self.ratio(name, ratios, false, 0.6, format!("{ours:.0}/s and {theirs:.0}/s"));
        let name = "PUT 4 KiB: rate against one log, group fsync, 64 threads";
        self.ratio(name, against_log, false, 0.5, format!("{ours:.0}/s and {logs:.0}/s"));
        Ok(())
    }

    async fn against_md5(&mut self) -> Outcome<()> {
        for (clients, name) in [
            (1, "PUT 64 MiB, one stream: against one core's MD5"),
            (8, "PUT 64 MiB, 8 streams: against disk or MD5 × cores"),
        ] {
            if !self.wants(name) {
                continue;
            }
            let (mut ratios, mut ours, mut limits) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.options.rounds {
                let cores = std::thread::available_parallelism()?.get().min(clients) as f64;
                let mut limit = reference::md5() * cores;
                if clients > 1 {
                    limit = limit.min(reference::large_files(self.folder, 64 << 20, clients, self.options.sample())?);
                }
                let rate = self.measure(self.own, Load::Put(64 * MIB), clients).await?;
                let bytes = rate.bytes as f64 / rate.seconds;
                ratios.push(bytes / limit);
                ours.push(bytes / MIB as f64);
                limits.push(limit / MIB as f64);
            }
            let figures = format!("{:.0} and {:.0} MiB/s", median(ours), median(limits));
            self.ratio(name, ratios, false, 0.6, figures);
        }
        Ok(())
    }

    async fn listings(&mut self) -> Outcome<()> {
        for (load, bound) in [(Load::List, 2000.0), (Load::ListDelimiter, 1000.0)] {
            if self.wants(&load.name()) {
                let mut cpu = Vec::new();
                for _ in 0..self.options.rounds {
                    cpu.push(self.measure(self.own, load, 2).await?.cpu_us());
                }
                let rows = self.options.preload.max(20_000);
                self.ratio(&format!("{}: CPU µs a page, {rows} keys", load.name()), cpu, true, bound, String::new());
            }
        }
        Ok(())
    }

    /// A delete and a copy of a large object cost what a copy of a small one costs: one commit.
    async fn copies(&mut self) -> Outcome<()> {
        if self.wants("COPY") {
            let (mut ratios, mut large, mut small) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.options.rounds {
                small.push(self.measure(self.own, Load::Copy(4 * KIB), 16).await?.per_second());
                large.push(self.measure(self.own, Load::Copy(1024 * MIB), 16).await?.per_second());
                ratios.push(large[large.len() - 1] / small[small.len() - 1]);
            }
            let figures = format!("{:.0}/s and {:.0}/s", median(large), median(small));
            self.ratio("COPY 1 GiB: rate against COPY 4 KiB", ratios, false, 0.8, figures);
        }
        if self.wants("DELETE") {
            let (mut ratios, mut ours, mut copies) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..self.options.rounds {
                copies.push(self.measure(self.own, Load::Copy(4 * KIB), 16).await?.per_second());
                ours.push(self.measure(self.own, Load::Delete, 16).await?.per_second());
                ratios.push(ours[ours.len() - 1] / copies[copies.len() - 1]);
            }
            let figures = format!("{:.0}/s and {:.0}/s", median(ours), median(copies));
            self.ratio("DELETE: rate against COPY 4 KiB, one commit each", ratios, false, 0.8, figures);
        }
        Ok(())
    }

    async fn against_peers(&mut self) -> Outcome<()> {
        for peer in self.peers {
            for (load, clients, bound) in [(Load::Get(4 * KIB), 32, 3.0), (Load::Put(4 * KIB), 16, 1.0)] {
                if self.wants(&load.name()) {
                    let pairs = self.pairs(peer, load, clients).await?;
                    let rate = pairs.iter().map(|(a, b)| a.per_second() / b.per_second()).collect();
                    let figures = words(&pairs, "/s", Rate::per_second);
                    self.ratio(
                        &format!("{}: requests against {}", load.name(), peer.name),
                        rate,
                        false,
                        bound,
                        figures,
                    );
                }
            }
        }
        Ok(())
    }

    /// Objects are placed on the other silo, and as many files of their size are copied by a bare program.
    async fn moves(&mut self) -> Outcome<()> {
        for (name, size, count, bound) in
            [("move of 8 MiB objects", 8 * MIB, 64, 0.5), ("move of 4 KiB objects", 4 * KIB, 20_000, 1.0)]
        {
            if !self.wants(name) {
                continue;
            }
            let setup = &self.gateway.setup;
            let holdall = setup.command();
            let (mut ratios, mut ours, mut theirs, mut places) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for round in 0..self.options.rounds.min(3) {
                let bucket = format!("moved-{size}-{round}");
                write_bucket(&self.own.endpoint, &bucket, size, count).await?;
                let copied = self.folder.join(format!("copied-{size}-{round}"));
                let bare = reference::copy_files(&copied, size as usize, count)?;
                let watch = Stopwatch::start();
                holdall.json(&["place", &format!("s3://{bucket}/"), "--on", "cold"]).await?;
                let rate = (size * count) as f64 / watch.elapsed().as_secs_f64();
                ratios.push(rate / bare);
                ours.push(rate / MIB as f64);
                theirs.push(bare / MIB as f64);
                places.push(copied);
            }
            remove_at_last(&places)?;
            settle::sweep(&holdall).await?;
            let figures = format!("{:.1} and {:.1} MiB/s", median(ours), median(theirs));
            self.ratio(&format!("{name}: bytes a second against cp, fsync, checksum"), ratios, false, bound, figures);
        }
        Ok(())
    }
}

fn words(pairs: &[(Rate, Rate)], unit: &str, figure: fn(&Rate) -> f64) -> String {
    let ours = median(pairs.iter().map(|pair| figure(&pair.0)).collect());
    let theirs = median(pairs.iter().map(|pair| figure(&pair.1)).collect());
    format!("{ours:.4} and {theirs:.4} {unit}").replace(".0000", "")
}

/// Removes what the references wrote once the rounds are over: ext4 steps over every inode freed of late, one by one,
/// whoever needs one.
fn remove_at_last(places: &[PathBuf]) -> Outcome<()> {
    for place in places {
        std::fs::remove_dir_all(place)?;
    }
    Ok(())
}

/// Objects of one size in a bucket of their own.
async fn write_bucket(endpoint: &Endpoint, bucket: &str, size: u64, count: u64) -> Outcome<()> {
    Client::new(endpoint).create_bucket(bucket).await?;
    let mut writers = Vec::new();
    for writer in 0..16u64 {
        let (endpoint, bucket) = (endpoint.clone(), bucket.to_owned());
        writers.push(tokio::spawn(async move {
            let mut client = Client::new(&endpoint);
            for number in (writer..count).step_by(16) {
                let payload = holdall_conformance::payload::Payload::new(&bucket, number, size);
                let body = holdall_conformance::wire::Body::made(payload);
                client.put(&bucket, &format!("k/{number}"), &[], body).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        }));
    }
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

async fn nginx(folder: &Path) -> Outcome<Option<Target>> {
    let paths = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];
    let Some(program) = paths.into_iter().map(Path::new).find(|path| path.exists()) else { return Ok(None) };
    let root = folder.join("root");
    std::fs::create_dir_all(&root)?;
    let address = free_address()?;
    let configuration = folder.join("nginx.conf");
    std::fs::write(&configuration, reference::nginx_configuration(folder, &address))?;
    // A worker runs as another user, who must be able to read the files.
    make_readable(folder)?;
    let child = Command::new(program)
        .arg("-c")
        .arg(&configuration)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    answers(&address).await?;
    let endpoint = Endpoint {
        address,
        signer: Some(Signer::new("beside", "signed/but/not/looked/at", "us-east-1")),
        sign_payload: false,
    };
    let mut target = Target::new("nginx", endpoint, child.id());
    target.files = Some(root);
    target.child = Some(child);
    Ok(Some(target))
}

fn make_readable(folder: &Path) -> Outcome<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for above in folder.ancestors().take_while(|above| above.components().count() > 2) {
        let mode = std::fs::metadata(above)?.permissions().mode();
        std::fs::set_permissions(above, std::fs::Permissions::from_mode(mode | 0o055))?;
    }
    Ok(())
}

async fn answers(address: &str) -> Outcome<()> {
    let watch = Stopwatch::start();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        if watch.over(Duration::from_secs(10)) {
            return Err(format!("nothing answers at {address}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
