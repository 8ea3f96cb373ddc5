//! The gateway, its silos, and what is beside it.

use std::fmt::Write as _;
use std::path::Path;

use holdall_conformance::client::Client;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use holdall_conformance::{Outcome, say, settle};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::double::{self, Double, Habits};
use super::objects::Written;
use super::{BUCKET, Options};

/// The silo that everything is written to.
pub(super) const HOME: &str = "hot";
/// The bucket of another Holdall.
const OTHER: &str = "other";
/// Files on the web server, with as many bytes.
const FILES: [(&str, usize); 4] =
    [("empty", 0), ("a b+%.txt", 17), ("deep/down/page.html", 9_000), ("large.bin", 1_500_000)];

/// A running house; dropped, all of it is gone.
pub(super) struct House {
    pub(super) gateway: Gateway,
    other: Gateway,
    _double: Double,
}

impl House {
    pub(super) async fn start(options: &Options, folder: &Path) -> Outcome<Self> {
        let mut behind = Setup::new(&folder.join("other"))?;
        behind.config = Some(NO_GRACE.to_owned());
        let other = behind.start().await?;
        Client::new(&behind.endpoint()).create_bucket(OTHER).await?;
        let double = Double::start(Habits::default()).await;
        let mut setup = Setup::new(&folder.join("data"))?;
        setup.env.push(("OTHER_KEY".to_owned(), behind.access_key_id));
        setup.env.push(("OTHER_SECRET".to_owned(), behind.secret_access_key));
        let mut config = format!(
            "{NO_GRACE}[silo.{HOME}]\nurl = \"file:{HOME}\"\n[write]\nto = [\"{HOME}\"]\n\
             [silo.other]\nurl = \"s3://{OTHER}?endpoint=http://{}&region=us-east-1\"\n\
             credentials = {{ access_key_id_env = \"OTHER_KEY\", secret_access_key_env = \"OTHER_SECRET\" }}\n\
             [silo.gs]\nurl = \"gs://{}?endpoint={}\"\n",
            behind.listen,
            double::BUCKET,
            double.endpoint
        );
        if let Some(url) = &options.web {
            write!(config, "[silo.web]\nurl = \"{url}\"\naccess = \"read-only\"\n")?;
        }
        if let Some(more) = &options.declare {
            config.push_str(&std::fs::read_to_string(more)?);
        }
        setup.config = Some(config);
        Ok(Self { gateway: setup.start().await?, other, _double: double })
    }

    /// Each silo as it is found, and how fast it is.
    pub(super) async fn probe(&self, through: &[String]) -> Outcome<()> {
        for silo in through {
            let found = self.gateway.setup.command().json(&["silo", "probe", silo, "--size", "1MiB"]).await?;
            let (speed, kind) = (&found["speed"], &found["silo"]["facts"]["kind"]);
            if speed.is_null() || found["facts_changed"] == true {
                return Err(format!("silo {silo} is not what it was found to be a moment ago: {found}").into());
            }
            let at = |rate: &Value| rate.as_u64().unwrap_or_default() >> 20;
            say::progress(format!(
                "{silo} ({}): puts in {} us, takes {} MiB/s, gives {} MiB/s",
                kind.as_str().unwrap_or_default(),
                speed["put_us"],
                at(&speed["write_rate"]),
                at(&speed["read_rate"])
            ));
        }
        Ok(())
    }

    /// Takes over what lies on the web server; answers what that is.
    pub(super) async fn take_over(&self, options: &Options) -> Outcome<Written> {
        let mut taken = Written::new();
        let Some(folder) = &options.web_folder else { return Ok(taken) };
        for (name, size) in FILES {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().ok_or("no folder")?)?;
            let bytes: Vec<u8> = (0..size).map(|at| (at * 7 + (at >> 8) + size) as u8).collect();
            taken.insert(format!("web/{name}"), const_hex::encode(Sha256::digest(&bytes)));
            std::fs::write(path, bytes)?;
        }
        let into = format!("s3://{BUCKET}/web/");
        self.gateway.setup.command().json(&["assimilate", "web", "--into", &into, "--every", "1h"]).await?;
        Ok(taken)
    }

    /// Nothing is left in a silo, and nothing is anywhere but in another.
    pub(super) async fn left(&self, from: &str, to: &str) -> Outcome<()> {
        let holdall = self.gateway.setup.command();
        settle::sweep(&holdall).await?;
        let silos = holdall.json(&["silo", "list"]).await?;
        for silo in silos.as_array().ok_or("no list of silos")? {
            let (name, extents) = (silo["name"].as_str().unwrap_or_default(), &silo["extents"]);
            // What the first hop is not about lies where others put it, or at home.
            let empty = name == from || (name != to && name != "web");
            if empty && (*extents != 0 || silo["retired_extents"] != 0) {
                return Err(format!("{extents} extents are left in {name} after {from} was drained to {to}").into());
            }
        }
        Ok(())
    }

    pub(super) async fn stop(self) -> Outcome<()> {
        self.gateway.stop().await?;
        self.other.stop().await?;
        Ok(())
    }
}
