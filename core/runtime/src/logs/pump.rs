use std::collections::{HashMap, HashSet, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use pinnace_env::Clock;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify;
use tokio::sync::oneshot;

use super::LogLimits;
use super::tail::Tail;
use crate::{Error, Result};

/// How long after a failed write (a full disk, mostly) it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The files of one container's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPumpConfig {
    /// Raw standard output, appended to by the container or its shim. Made when missing.
    pub stdout: PathBuf,
    /// Raw standard error.
    pub stderr: PathBuf,
    /// The log in the CRI format.
    pub log: PathBuf,
    /// How far the raw files have been consumed. One container's own.
    pub state: PathBuf,
    /// When the log is rotated.
    pub limits: LogLimits,
}

/// The log pumps of one runtime: one thread and one inotify instance for all containers, woken by
/// the kernel whenever one of them prints.
///
/// Cheap to clone. The thread ends when the last clone and the last [`LogPump`] are gone.
#[derive(Clone)]
pub struct LogPumps(Arc<Shared>);

impl LogPumps {
    /// Starts the thread. Lines get the time of `clock`.
    ///
    /// # Errors
    /// [`Error::Io`] when the user's limit of inotify instances
    /// (`fs.inotify.max_user_instances`) or of threads is reached.
    pub fn new(clock: Clock) -> Result<Self> {
        let io = |source| Error::Io { operation: "start the log thread".into(), source };
        let watches = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)
            .map_err(|e| io(e.into()))?;
        let wake =
            eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).map_err(|e| io(e.into()))?;
        let mailbox = Arc::new(Mailbox { commands: Mutex::new(VecDeque::new()), wake });
        let worker = Worker {
            mailbox: Arc::clone(&mailbox),
            watches,
            clock,
            tails: HashMap::new(),
            by_watch: HashMap::new(),
            dirty: HashSet::new(),
            failed: HashSet::new(),
        };
        let thread = std::thread::Builder::new()
            .name("pinnace-logs".into())
            .spawn(move || worker.run())
            .map_err(io)?;
        Ok(Self(Arc::new(Shared {
            mailbox,
            next: AtomicU64::new(0),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Begins, or goes on, to write one container's log. Returns once it is watched.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be opened or watched.
    pub async fn start(&self, config: LogPumpConfig) -> Result<LogPump> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (done, answer) = oneshot::channel();
        // Owned before the first await: a caller that goes away leaves no tail behind.
        let pump = LogPump { id, shared: Some(Arc::clone(&self.0)) };
        self.0.mailbox.send(Command::Start { id, config, done });
        answer.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(pump)
    }
}

/// Writes one container's log until it is finished or dropped.
///
/// Dropping stops it and keeps its state: a later pump with the same files goes on there.
pub struct LogPump {
    id: u64,
    shared: Option<Arc<Shared>>,
}

impl LogPump {
    /// Writes everything that the raw files hold, the last unterminated lines included, and
    /// stops. For when the container has exited.
    ///
    /// # Errors
    /// [`Error::Io`] when the log cannot be written; a new pump may try again.
    pub async fn finish(mut self) -> Result<()> {
        let Some(shared) = self.shared.take() else { return Ok(()) };
        let (done, answer) = oneshot::channel();
        shared.mailbox.send(Command::Finish { id: self.id, done });
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for LogPump {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.mailbox.send(Command::Stop { id: self.id });
        }
    }
}

struct Shared {
    mailbox: Arc<Mailbox>,
    next: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.mailbox.send(Command::End);
        if let Some(thread) = self.thread.lock().take() {
            // A panic there has been printed; here it only means that it has ended.
            let _ = thread.join();
        }
    }
}

struct Mailbox {
    /// At most three per container.
    commands: Mutex<VecDeque<Command>>,
    wake: OwnedFd,
}

enum Command {
    Start { id: u64, config: LogPumpConfig, done: oneshot::Sender<Result<()>> },
    Finish { id: u64, done: oneshot::Sender<Result<()>> },
    Stop { id: u64 },
    End,
}

impl Mailbox {
    fn send(&self, command: Command) {
        self.commands.lock().push_back(command);
        // Fails only when the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

struct Worker {
    mailbox: Arc<Mailbox>,
    watches: OwnedFd,
    clock: Clock,
    tails: HashMap<u64, Entry>,
    by_watch: HashMap<i32, u64>,
    dirty: HashSet<u64>,
    failed: HashSet<u64>,
}

struct Entry {
    tail: Tail,
    watches: [i32; 2],
    log: PathBuf,
    /// Whether the last attempt failed, so that it is said once.
    failing: bool,
}

impl Worker {
    fn run(mut self) {
        loop {
            self.wait();
            if !self.commands() {
                return;
            }
            self.changes();
            let batch: Vec<u64> = self.dirty.drain().collect();
            for id in batch {
                self.pump(id);
            }
        }
    }

    fn wait(&self) {
        let retry = (!self.failed.is_empty()).then_some(RETRY);
        let timeout = if self.dirty.is_empty() { retry } else { Some(Duration::ZERO) };
        let timeout = timeout.and_then(|duration| Timespec::try_from(duration).ok());
        let mut ready = [
            PollFd::new(&self.watches, PollFlags::IN),
            PollFd::new(&self.mailbox.wake, PollFlags::IN),
        ];
        // An interruption only means to look once more.
        let _ = poll(&mut ready, timeout.as_ref());
    }

    /// False when it is time to end.
    fn commands(&mut self) -> bool {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.mailbox.wake, &mut counter);
        loop {
            let Some(command) = self.mailbox.commands.lock().pop_front() else { return true };
            match command {
                Command::Start { id, config, done } => {
                    let _ = done.send(self.start(id, &config));
                }
                Command::Finish { id, done } => {
                    let _ = done.send(self.finish(id));
                }
                Command::Stop { id } => drop(self.forget(id)),
                Command::End => return false,
            }
        }
    }

    fn start(&mut self, id: u64, config: &LogPumpConfig) -> Result<()> {
        let tail = Tail::open(config).map_err(|source| Error::Io {
            operation: format!("open the log {}", config.log.display()),
            source,
        })?;
        let stdout = self.watch(&config.stdout)?;
        let stderr = self.watch(&config.stderr)?;
        let watches = [stdout, stderr];
        for watch in watches {
            self.by_watch.insert(watch, id);
        }
        let log = config.log.clone();
        self.tails.insert(id, Entry { tail, watches, log, failing: false });
        self.dirty.insert(id);
        Ok(())
    }

    fn watch(&self, path: &Path) -> Result<i32> {
        inotify::add_watch(&self.watches, path, inotify::WatchFlags::MODIFY).map_err(|e| {
            Error::Io { operation: format!("watch {}", path.display()), source: e.into() }
        })
    }

    fn finish(&mut self, id: u64) -> Result<()> {
        let Some(mut entry) = self.forget(id) else { return Ok(()) };
        let now = self.clock.now();
        loop {
            match entry.tail.pump(now, true) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(source) => {
                    let operation = format!("write {}", entry.log.display());
                    return Err(Error::Io { operation, source });
                }
            }
        }
    }

    fn forget(&mut self, id: u64) -> Option<Entry> {
        self.dirty.remove(&id);
        self.failed.remove(&id);
        let entry = self.tails.remove(&id)?;
        for watch in entry.watches {
            self.by_watch.remove(&watch);
            // The kernel drops the watch by itself when the file was removed.
            let _ = inotify::remove_watch(&self.watches, watch);
        }
        Some(entry)
    }

    fn changes(&mut self) {
        self.dirty.extend(self.failed.drain());
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watches, &mut buffer);
        while let Ok(event) = events.next() {
            if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                self.dirty.extend(self.tails.keys());
            } else if let Some(id) = self.by_watch.get(&event.wd()) {
                self.dirty.insert(*id);
            }
        }
    }

    fn pump(&mut self, id: u64) {
        let Some(entry) = self.tails.get_mut(&id) else { return };
        match entry.tail.pump(self.clock.now(), false) {
            Ok(more) => {
                entry.failing = false;
                if more {
                    self.dirty.insert(id);
                }
            }
            Err(error) => {
                if !entry.failing {
                    tracing::warn!(log = %entry.log.display(), %error, "cannot write a container's log, will try again");
                }
                entry.failing = true;
                self.failed.insert(id);
            }
        }
    }
}

fn gone() -> Error {
    Error::Other {
        operation: "write container logs".into(),
        message: "the log thread ended".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn what_is_printed_appears_in_the_log_without_being_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let pumps = LogPumps::new(Clock::system()).unwrap();
        let config = LogPumpConfig {
            stdout: path("out"),
            stderr: path("err"),
            log: path("log"),
            state: path("state"),
            limits: LogLimits::default(),
        };
        let pump = pumps.start(config.clone()).await.unwrap();
        let mut out = std::fs::OpenOptions::new().append(true).open(path("out")).unwrap();
        out.write_all(b"hello\n").unwrap();
        let log = || std::fs::read_to_string(path("log")).unwrap();
        let appeared = async {
            while !log().ends_with("stdout F hello\n") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), appeared).await.unwrap();

        drop(pump);
        out.write_all(b"while nobody looked\nend").unwrap();
        pumps.start(config).await.unwrap().finish().await.unwrap();
        assert!(log().ends_with("stdout P end\n"));
        assert_eq!(log().lines().count(), 3);
    }

    #[tokio::test]
    async fn a_log_that_cannot_be_opened_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let pumps = LogPumps::new(Clock::system()).unwrap();
        let path = |name: &str| home.path().join(name);
        std::fs::create_dir(path("log")).unwrap();
        let config = LogPumpConfig {
            stdout: path("out"),
            stderr: path("err"),
            log: path("log"),
            state: path("state"),
            limits: LogLimits::default(),
        };
        assert!(matches!(pumps.start(config).await, Err(Error::Io { .. })));
    }
}
