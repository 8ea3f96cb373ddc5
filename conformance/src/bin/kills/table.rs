//! What somebody at a terminal orders: to begin a scene, and to bring it to its end after the gateway died.

use std::time::Duration;

use holdall_conformance::clock::Stopwatch;
use holdall_conformance::command::Holdall;
use holdall_conformance::gateway::Setup;
use holdall_conformance::{Outcome, harm, settle};
use serde_json::Value;

use crate::{ENDS, Scene, silo};

const TWO: &[&str] = &["objective", "set", "two", "--on", "s3://", "--copies", "2"];
const ONE: &[&str] = &["objective", "set", "two", "--on", "s3://", "--copies", "1", "--place", "silo0"];
const START: &[&str] = &["switch", "start", "silo0", "silo1"];
const DRAIN: &[&str] = &["drain", "silo0", "--to", "silo1", "--detach"];
const COMMIT: &[&str] = &["switch", "commit", "silo0", "--detach"];
const BACK: &[&str] = &["switch", "rollback", "silo0", "--detach"];
const SCRUB: &[&str] = &["scrub", "silo0", "--detach"];
const LOSE: &[&str] = &["silo", "lost", "silo1", "--force"];
const FIND: &[&str] = &["silo", "found", "silo1"];
const CORDON: &[&str] = &["silo", "cordon", "silo1"];
const DELETE: &[&str] = &["silo", "delete", "silo1"];

impl Scene {
    /// What somebody orders, and the gateway dies of.
    pub(crate) fn order(self) -> &'static [&'static str] {
        match self {
            Self::Move => DRAIN,
            Self::Copy => TWO,
            Self::Drop => ONE,
            Self::Repair => SCRUB,
            Self::Follow => START,
            Self::Commit => COMMIT,
            Self::Back => BACK,
            Self::Lose => LOSE,
            Self::Find => FIND,
            Self::Remove => DELETE,
        }
    }
}

/// Somebody at a terminal.
pub(crate) struct Table<'a> {
    /// Its command line.
    pub(crate) holdall: Holdall,
    /// How the gateway is started.
    pub(crate) setup: &'a Setup,
}

impl Table<'_> {
    async fn order(&self, args: &[&str]) -> Outcome<Value> {
        self.holdall.json(args).await
    }

    /// One that says nothing, or may be refused for this.
    async fn tell(&self, args: &[&str], unless: &str) -> Outcome<()> {
        let said = self.holdall.run(args).await?;
        if said.code == 0 || (!unless.is_empty() && said.err.contains(unless)) {
            return Ok(());
        }
        Err(format!("`holdall {}`: {}{}", args.join(" "), said.out, said.err).into())
    }

    /// Brings all to where a scene begins.
    pub(crate) async fn prepare(&self, scene: Scene) -> Outcome<()> {
        match scene {
            Scene::Move | Scene::Copy | Scene::Follow => Ok(()),
            Scene::Drop | Scene::Repair | Scene::Lose => self.copied().await,
            Scene::Commit | Scene::Back => {
                self.order(START).await?;
                self.followed().await
            }
            Scene::Find => {
                self.copied().await?;
                self.order(LOSE).await?;
                self.jobs_end().await?;
                // What is forgotten by now is an orphan once the silo is found.
                settle::sweep(&self.holdall).await.map(drop)
            }
            Scene::Remove => self.tell(CORDON, "").await,
        }
    }

    /// Everybody orders it again who does not know whether it was heard, and waits for the end.
    pub(crate) async fn finish(&self, scene: Scene) -> Outcome<()> {
        self.jobs_end().await?;
        match scene {
            Scene::Move => {
                self.order(DRAIN).await?;
                self.jobs_end().await?;
                self.is_gone("silo0")
            }
            Scene::Copy => self.copied().await,
            Scene::Drop => {
                self.order(ONE).await?;
                self.until_none("copies > 1").await?;
                settle::sweep(&self.holdall).await?;
                self.is_gone("silo1")
            }
            Scene::Repair => {
                self.order(&SCRUB[..2]).await?;
                let left = self.order(&["scrub", "--list"]).await?.to_string();
                if left.contains("\"left\"") { Err(format!("damage is left: {left}").into()) } else { Ok(()) }
            }
            Scene::Follow => {
                self.tell(START, "silo_in_switch").await?;
                self.followed().await?;
                self.commit().await
            }
            Scene::Commit => self.commit().await,
            Scene::Back => {
                if self.switches().await? > 0 {
                    self.order(BACK).await?;
                }
                self.jobs_end().await?;
                settle::sweep(&self.holdall).await?;
                self.tell(CORDON, "").await?;
                self.take_out("silo1").await
            }
            Scene::Lose => {
                self.order(LOSE).await?;
                self.jobs_end().await?;
                self.tell(&["objective", "delete", "two"], "").await?;
                settle::sweep(&self.holdall).await?;
                self.take_out("silo1").await
            }
            Scene::Find => {
                self.tell(FIND, "is not lost").await?;
                self.tell(&["silo", "uncordon", "silo1"], "").await?;
                self.copied().await
            }
            Scene::Remove => {
                let said = self.holdall.run(DELETE).await?;
                if said.code == 0 || said.err.contains("no silo") { Ok(()) } else { Err(said.err.into()) }
            }
        }
    }

    /// The new silo is in the old one's place, which is gone.
    async fn commit(&self) -> Outcome<()> {
        if self.switches().await? > 0 {
            self.order(COMMIT).await?;
        }
        self.jobs_end().await?;
        self.take_out("silo0").await
    }

    /// Nobody needs a silo any more.
    async fn take_out(&self, name: &str) -> Outcome<()> {
        self.tell(&["silo", "delete", name], "").await?;
        self.is_gone(name)?;
        harm::wipe(&silo(self.setup, name))
    }

    /// No blob is in a silo; what is lost keeps its own.
    fn is_gone(&self, name: &str) -> Outcome<()> {
        let lost = std::fs::read_to_string(self.setup.log())?.contains("silo declared lost");
        match settle::files(&silo(self.setup, name)) {
            left if left > 0 && !lost => Err(format!("{left} blobs are left in {name}").into()),
            _ => Ok(()),
        }
    }

    async fn copied(&self) -> Outcome<()> {
        self.order(TWO).await?;
        self.until_none("copies < 2 && size > 0").await
    }

    async fn switches(&self) -> Outcome<usize> {
        Ok(self.order(&["switch", "status"]).await?.as_array().map_or(0, Vec::len))
    }

    async fn followed(&self) -> Outcome<()> {
        let watch = Stopwatch::start();
        loop {
            let all = self.order(&["switch", "status"]).await?;
            let extents = |of: &str| all.pointer(&format!("/0/{of}/extents")).and_then(Value::as_u64);
            if extents("rest") == Some(0) && extents("done") > Some(0) {
                return Ok(());
            }
            if watch.over(ENDS) {
                return Err(format!("the new silo does not follow: {all}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a condition holds for no object.
    async fn until_none(&self, condition: &str) -> Outcome<()> {
        let watch = Stopwatch::start();
        loop {
            let found = self.order(&["find", "s3://", "--where", condition]).await?;
            // One line is printed as one value.
            let lines = found.as_array().map_or_else(|| std::slice::from_ref(&found), Vec::as_slice);
            if lines.iter().all(|line| line.get("object").is_none()) {
                return Ok(());
            }
            if watch.over(ENDS) {
                return Err(format!("`{condition}` still holds: {found:.300}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until no job is under way, and none gave up.
    async fn jobs_end(&self) -> Outcome<()> {
        let watch = Stopwatch::start();
        loop {
            let jobs = self.order(&["job", "list"]).await?;
            let jobs = if jobs.is_object() { vec![jobs] } else { jobs.as_array().cloned().unwrap_or_default() };
            let state = |job: &Value| job["state"].as_str().unwrap_or_default().to_owned();
            let drains = |job: &Value| job.pointer("/order/kind").is_some_and(|kind| kind == "drain");
            if let Some(failed) = jobs.iter().find(|job| state(job) == "failed") {
                return Err(format!("a job gave up: {failed}").into());
            }
            let active = |job: &&Value| state(job) == "running" || (state(job) == "done" && drains(job));
            match jobs.iter().find(active) {
                None => return Ok(()),
                Some(job) if watch.over(ENDS) => return Err(format!("a job does not end: {job}").into()),
                Some(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}
