//! Nodes and pods made of network namespaces, each held by a thread: they end with it, whatever
//! becomes of the test.

use std::{
    fs,
    future::Future,
    io::{Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use pinnace_network::{
    BridgeConfig, BridgeNetwork, Error, PodAddresses, PodAttachment, PodNetwork,
};
use rustix::thread::{CapabilitySet, capabilities};

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Runs a test on a node of its own: a network namespace whose interfaces nobody else sees.
pub(crate) fn on_a_node<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    on_a_thread(move || {
        let needed = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
        let permitted = capabilities(None).is_ok_and(|own| own.effective.contains(needed));
        if !permitted || unshare(CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("skipped: it takes CAP_NET_ADMIN and CAP_SYS_ADMIN to make a node");
            return;
        }
        block_on(test());
    });
}

pub(crate) fn on_a_thread(test: impl FnOnce() + Send + 'static) {
    if let Err(panic) = thread::spawn(test).join() {
        resume_unwind(panic);
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

type Job = Box<dyn FnOnce() + Send>;

/// A pod's network namespace.
pub(crate) struct Namespace {
    pub(crate) path: PathBuf,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (jobs, work) = mpsc::channel::<Job>();
        let (ready, path) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            let own = fs::read_link("/proc/thread-self").expect("a proc file system");
            ready.send(Path::new("/proc").join(own).join("ns/net")).expect("a test");
            work.into_iter().for_each(|job| job());
        });
        let path = path.recv().expect("a path");
        Self { path, jobs: Some(jobs), thread: Some(thread) }
    }

    /// Runs `work` inside.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, answer) = mpsc::channel();
        let job: Job = Box::new(move || done.send(work()).expect("a test"));
        self.jobs.as_ref().expect("open").send(job).expect("a thread");
        answer.recv().expect("an answer")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.jobs = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

pub(crate) async fn attach(
    network: &BridgeNetwork,
    pod_uid: &str,
    pod: &Namespace,
) -> Result<PodAddresses, Error> {
    network.attach(&PodAttachment { pod_uid, namespace: &pod.path }).await
}

/// Opens a network whose state is in `folder`, after `adjust` had its say.
pub(crate) async fn open(
    folder: &tempfile::TempDir,
    adjust: impl FnOnce(&mut BridgeConfig),
) -> Result<BridgeNetwork, Error> {
    let mut config = BridgeConfig::new(folder.path());
    adjust(&mut config);
    BridgeNetwork::open(config).await
}

pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Has a pod listen at `ip` and `client` talk to it.
pub(crate) fn assert_talks(ip: IpAddr, server: &Namespace, client: Option<&Namespace>) {
    let listener = server.run(move || TcpListener::bind((ip, 0)).expect("a listener"));
    let address = listener.local_addr().expect("an address");
    let talk = move || echo(address);
    let answering = answer_once(listener);
    let heard = client.map_or_else(talk, |client| client.run(talk));
    answering.join().expect("a server");
    assert_eq!(heard, "ahoy from the other side");
}

pub(crate) fn answer_once(listener: TcpListener) -> JoinHandle<()> {
    thread::spawn(move || {
        if let Ok((mut stream, _)) = listener.accept() {
            stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let mut words = String::new();
            stream.read_to_string(&mut words).expect("words");
            stream.write_all(format!("{words} from the other side").as_bytes()).expect("an answer");
        }
    })
}

pub(crate) fn echo(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)
        .unwrap_or_else(|error| panic!("{address} can't be reached: {error}"));
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(b"ahoy").expect("a request");
    stream.shutdown(Shutdown::Write).expect("an end");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// The names of the interfaces that the calling thread sees.
pub(crate) fn interfaces() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").expect("a table");
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    table.lines().filter_map(name).collect()
}

pub(crate) fn cables() -> usize {
    interfaces().iter().filter(|name| name.starts_with("pod")).count()
}
