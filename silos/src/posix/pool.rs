//! Threads of one silo's own: a hung mount keeps its own silo's threads busy and nobody else's.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::SiloError;
use crate::limits::{POSIX_QUEUE, POSIX_THREAD_IDLE, POSIX_THREADS, RESPONSE_TIMEOUT};

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    /// Whether this is a thread of a silo's own, which may wait for its disk.
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Runs blocking work in order of arrival on at most [`POSIX_THREADS`] threads, made as needed.
#[derive(Clone)]
pub(crate) struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// Work under way.
pub(crate) struct Pending<T> {
    answer: oneshot::Receiver<T>,
    phase: Arc<Phase>,
}

/// Whether a job was begun, decided once between its thread and a caller who gives up.
#[derive(Default)]
struct Phase(AtomicU8);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Phase {
    fn take(&self, what: u8) -> bool {
        self.0.compare_exchange(WAITING, what, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Pool {
    pub(crate) fn new() -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        Self { inner: Arc::new(Inner { shared }) }
    }

    /// Begins work, in its turn: dropped before that it never is, dropped later it goes on.
    pub(crate) fn start<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
        let (tell, answer) = oneshot::channel();
        let phase = Arc::new(Phase::default());
        let seen = Arc::clone(&phase);
        let job = move || {
            if seen.take(BEGUN) {
                // Nobody may be listening any more; the work was worth doing all the same.
                let _ = tell.send(work());
            }
        };
        self.push(Box::new(job), POSIX_QUEUE);
        Pending { answer, phase }
    }

    /// Does what only lets go of something, at once on a thread of a silo's own, elsewhere on such a thread later. It
    /// is never refused for being too much: no more of it waits than files were opened.
    pub(crate) fn clean_up(&self, work: impl FnOnce() + Send + 'static) {
        if MAY_WAIT.get() { work() } else { self.push(Box::new(work), usize::MAX) }
    }

    /// Does work that changes nothing, within the time a silo has to answer.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SiloError> + Send + 'static,
    ) -> Result<T, SiloError> {
        self.start(work).within(RESPONSE_TIMEOUT).await.map_err(|lost| SiloError::not_done(lost.reason()))?
    }

    /// Does work that may have changed something when its answer is lost.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SiloError> + Send + 'static,
    ) -> Result<T, SiloError> {
        self.start(work).within(RESPONSE_TIMEOUT).await.map_err(SiloError::from)?
    }

    /// Queues a job, or drops it where the queue has `most` or no thread can be made: its caller then learns that it
    /// was not begun. A job is dropped without the lock, since what it holds may be cleaned up here.
    fn push(&self, job: Job, most: usize) {
        let shared = &self.inner.shared;
        let mut state = shared.lock();
        if state.jobs.len() >= most {
            drop(state);
            return drop(job);
        }
        state.jobs.push_back(job);
        let mut refused = None;
        if state.jobs.len() > state.idle && state.threads < POSIX_THREADS {
            let theirs = Arc::clone(shared);
            let made = std::thread::Builder::new().name("silo".to_owned()).spawn(move || theirs.serve());
            match made {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => refused = state.jobs.pop_back(),
                Err(_) => {}
            }
        }
        drop(state);
        drop(refused);
        shared.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        MAY_WAIT.set(true);
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // A panic is the job's own: its answer is dropped, which its caller sees.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                state = self.lock();
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let (woken, waited) =
                self.wake.wait_timeout(state, POSIX_THREAD_IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

/// No answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The work was never begun and never will be.
    NotBegun,
    /// The work was begun.
    Begun,
}

impl Lost {
    fn reason(self) -> &'static str {
        match self {
            Self::NotBegun => "the silo is too busy, or hangs",
            Self::Begun => "the silo did not answer in time",
        }
    }
}

impl From<Lost> for SiloError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::NotBegun => Self::not_done(lost.reason()),
            Lost::Begun => Self::unknown(lost.reason()),
        }
    }
}

impl<T> Pending<T> {
    /// Waits for the answer, at most so long.
    pub(crate) async fn within(mut self, limit: Duration) -> Result<T, Lost> {
        if let Ok(Ok(answer)) = tokio::time::timeout(limit, &mut self.answer).await {
            return Ok(answer);
        }
        Err(if self.phase.take(GIVEN_UP) { Lost::NotBegun } else { Lost::Begun })
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.phase.take(GIVEN_UP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn work_is_answered_and_a_panic_is_lost() {
        let pool = Pool::new();
        assert_eq!(pool.read(|| Ok(7)).await, Ok(7));
        let panics: Result<(), _> = pool.write(|| panic!("on purpose")).await;
        assert_eq!(panics, Err(SiloError::unknown("the silo did not answer in time")));
        assert_eq!(pool.read(|| Ok(8)).await, Ok(8));
    }

    /// A mount hangs: every thread of its silo is stuck. Work that was begun is unknown, work that waited behind it
    /// is certain not to happen later, and when the mount comes back the threads serve again.
    #[tokio::test]
    async fn a_hung_silo_tells_begun_work_from_waiting_work() {
        let pool = Pool::new();
        let (release, stuck) = mpsc::channel::<()>();
        let stuck = Arc::new(Mutex::new(stuck));
        let begun: Vec<_> = (0..POSIX_THREADS)
            .map(|_| {
                let stuck = Arc::clone(&stuck);
                pool.start(move || stuck.lock().unwrap().recv().unwrap_err())
            })
            .collect();
        while begun.iter().any(|pending| pending.phase.0.load(Ordering::Acquire) != BEGUN) {
            tokio::task::yield_now().await;
        }
        let (witness, seen) = mpsc::channel();
        let waiting = pool.start(move || witness.send(()));
        assert_eq!(waiting.within(Duration::ZERO).await.map(drop), Err(Lost::NotBegun));
        let (witness, dropped) = mpsc::channel();
        drop(pool.start(move || witness.send(())));
        let mut begun = begun.into_iter();
        let first = begun.next().unwrap();
        assert_eq!(first.within(Duration::ZERO).await, Err(Lost::Begun));
        drop(release);
        for pending in begun {
            assert_eq!(pending.within(RESPONSE_TIMEOUT).await, Ok(mpsc::RecvError));
        }
        assert_eq!(pool.read(|| Ok(1)).await, Ok(1));
        assert!(seen.recv().is_err(), "work that was given up must not run");
        assert!(dropped.recv().is_err(), "nor what nobody waits for any more");
    }

    /// More work than threads and queue take, until the sender is dropped.
    fn hang(pool: &Pool) -> (mpsc::Sender<()>, Vec<Pending<mpsc::RecvError>>) {
        let (release, stuck) = mpsc::channel::<()>();
        let stuck = Arc::new(Mutex::new(stuck));
        let waiting = (0..=POSIX_THREADS + POSIX_QUEUE).map(|_| {
            let stuck = Arc::clone(&stuck);
            pool.start(move || stuck.lock().unwrap().recv().unwrap_err())
        });
        (release, waiting.collect())
    }

    /// What holds a file is refused like all work, and its file is closed all the same, by a thread that may wait for
    /// it.
    #[tokio::test]
    async fn cleaning_up_is_never_refused_and_never_waited_for() {
        let pool = Pool::new();
        let (release, waiting) = hang(&pool);
        let (tell, cleaned) = mpsc::channel();
        let theirs = tell.clone();
        pool.clean_up(move || theirs.send(std::thread::current().id()).unwrap());
        assert!(cleaned.try_recv().is_err(), "the silo hangs");
        drop(release);
        assert_ne!(cleaned.recv().unwrap(), std::thread::current().id());
        drop(waiting);
        let (inner, here) = (pool.clone(), std::thread::current);
        let at_once = move || {
            inner.clean_up(move || tell.send(here().id()).unwrap());
            Ok((here().id(), cleaned.try_recv().ok()))
        };
        let (thread, cleaned) = pool.read(at_once).await.unwrap();
        assert_eq!(cleaned, Some(thread), "a thread that may wait does it at once");
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let pool = Pool::new();
        let (release, waiting) = hang(&pool);
        let refused = pool.read(|| Ok(())).await;
        drop(release);
        drop(waiting);
        // Threads may have taken jobs off the queue meanwhile, never more than there are.
        assert!(refused.is_ok() || refused == Err(SiloError::not_done("the silo is too busy, or hangs")));
    }
}
