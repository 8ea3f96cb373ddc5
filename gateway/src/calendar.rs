//! The clock of a process. In builds with `faults` the environment may name a file that says by how many days it is ahead, and how
//! many times as fast time goes by that nothing but waiting is done in: `120 4`.

use std::sync::Arc;

use holdall_namespace::clock::{Clock, SystemClock};

/// The machine's clock, but for tests.
pub(crate) fn clock() -> Arc<dyn Clock> {
    #[cfg(feature = "faults")]
    if let Some(file) = std::env::var_os("HOLDALL_CALENDAR") {
        return Arc::new(turned::Calendar::new(file.into()));
    }
    Arc::new(SystemClock::new())
}

#[cfg(feature = "faults")]
mod turned {
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;
    use holdall_namespace::clock::{Clock, SystemClock, UnixMs};

    /// The file is read again after so long.
    const READ_AGAIN: Duration = Duration::from_millis(10);
    const DAY: i64 = 86_400_000;

    pub(super) struct Calendar {
        clock: SystemClock,
        file: PathBuf,
        /// When the file was read, and what it said.
        said: Mutex<(Duration, i64)>,
        times: u32,
    }

    impl Calendar {
        pub(super) fn new(file: PathBuf) -> Self {
            let (days, times) = read(&file).unwrap_or((0, 1));
            Self { clock: SystemClock::new(), file, said: Mutex::new((Duration::ZERO, days)), times }
        }

        fn days(&self) -> i64 {
            let mut said = self.said.lock().expect("no holder panics");
            let now = self.clock.monotonic();
            if now.saturating_sub(said.0) > READ_AGAIN {
                *said = (now, read(&self.file).map_or(said.1, |(days, _)| days));
            }
            said.1
        }
    }

    /// What a file says; nothing while it is written.
    fn read(file: &PathBuf) -> Option<(i64, u32)> {
        let text = std::fs::read_to_string(file).ok()?;
        let (days, times) = text.trim().split_once(' ')?;
        Some((days.parse().ok()?, times.parse().ok()?))
    }

    #[async_trait]
    impl Clock for Calendar {
        fn now(&self) -> UnixMs {
            self.clock.now() + self.days() * DAY
        }

        fn monotonic(&self) -> Duration {
            self.clock.monotonic() * self.times
        }

        async fn sleep(&self, time: Duration) {
            self.clock.sleep(time / self.times).await;
        }
    }
}
