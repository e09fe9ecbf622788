use std::collections::VecDeque;
use std::ffi::{c_char, c_void};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::{Condvar, Mutex};
use pinnace::{LogOptions as ReadOptions, Object, WatchEvent, WatchStream};
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::boundary::{Out, handle, optional_text, options, taken, text};
use crate::bytes::Bytes;
use crate::callback::{Finalizer, UserData, WatchCallback};
use crate::controller::called_back;
use crate::engine::Engine;
use crate::error::{Failure, PinnaceError};
use crate::objects::Selection;

/// Items that may wait for a stream's reader; beyond that its source waits.
const QUEUE: usize = 256;

type Items = BoxStream<'static, pinnace::Result<Vec<u8>>>;

/// Events of a watch or lines of a log, to be taken one by one.
pub struct Stream {
    queue: Arc<Queue>,
    stop: CancellationToken,
}

impl Stream {
    fn new(engine: &Engine, items: Items) -> Result<Self, Failure> {
        let ready = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Failure::Argument(format!("eventfd: {error}")))?;
        let queue = Arc::new(Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
            room: Notify::new(),
            ready,
        });
        let stop = CancellationToken::new();
        let pump = pump(items, Source(queue.clone()), stop.clone());
        engine.0.handle()?.spawn(pump);
        Ok(Self { queue, stop })
    }
}

#[derive(Default)]
struct State {
    items: VecDeque<Result<Vec<u8>, Failure>>,
    ended: bool,
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    room: Notify,
    /// Readable while there are items, or the end.
    ready: OwnedFd,
}

/// The end of a queue that is written to; the queue ends when it is dropped, with the engine at
/// the latest.
struct Source(Arc<Queue>);

impl Source {
    async fn push(&self, item: Result<Vec<u8>, Failure>) {
        while self.0.state.lock().items.len() >= QUEUE {
            self.0.room.notified().await;
        }
        let mut state = self.0.state.lock();
        state.items.push_back(item);
        self.0.announce();
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.ended = true;
        self.0.announce();
    }
}

impl Queue {
    /// Called with the state locked, so that the descriptor never lags behind it.
    fn announce(&self) {
        let _ = rustix::io::write(&self.ready, &1_u64.to_ne_bytes());
        self.changed.notify_all();
    }

    fn next(&self, timeout: Option<Duration>) -> Result<Option<Vec<u8>>, Failure> {
        let mut state = self.state.lock();
        let is_idle = |state: &mut State| state.items.is_empty() && !state.ended;
        match timeout {
            None => self.changed.wait_while(&mut state, is_idle),
            Some(timeout) => {
                self.changed.wait_while_for(&mut state, is_idle, timeout);
            }
        }
        let item = state.items.pop_front();
        self.room.notify_one();
        if state.items.is_empty() && !state.ended {
            let _ = rustix::io::read(&self.ready, &mut [0; 8]);
        }
        match item {
            Some(item) => item.map(Some),
            None if state.ended => Err(Failure::Ended),
            None => Ok(None),
        }
    }
}

async fn pump(mut items: Items, source: Source, stop: CancellationToken) {
    let _ = stop
        .run_until_cancelled(async {
            while let Some(item) = items.next().await {
                source.push(item.map_err(Failure::from)).await;
            }
        })
        .await;
}

fn events(events: WatchStream) -> Items {
    let items = events.filter_map(async |event| {
        Some(Ok(match event {
            Ok(WatchEvent::Added(object)) => event_json("ADDED", &object),
            Ok(WatchEvent::Modified(object)) => event_json("MODIFIED", &object),
            Ok(WatchEvent::Deleted(object)) => event_json("DELETED", &object),
            Ok(WatchEvent::Bookmark(..)) => return None,
            Err(error) => return Some(Err(error.into())),
        }))
    });
    items.boxed()
}

fn event_json(kind: &str, object: &Object) -> Vec<u8> {
    let head = format!("{{\"type\":\"{kind}\",\"object\":");
    [head.as_bytes(), &object.json(), b"}"].concat()
}

fn open(
    engine: &Engine,
    kind: *const c_char,
    selection: *const Selection,
) -> Result<Items, Failure> {
    let kind = text(kind, "kind")?;
    let (at, all, options) = Selection::read(selection)?.parse(engine)?;
    let opened = engine.wait(async {
        if all { at.watch_all(kind, options).await } else { at.watch(kind, options).await }
    })?;
    Ok(events(opened))
}

/// Watches the objects of a kind: first what is there, as added, then what happens. Each item of
/// the stream is JSON: `{"type": "ADDED", "object": {…}}`; other types are `MODIFIED` and
/// `DELETED`.
///
/// `kind` and `selection` are borrowed; a NULL `selection` selects everything. `*stream` is owned by
/// the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_watch(
    engine: *const Engine,
    kind: *const c_char,
    selection: *const Selection,
    stream: *mut *mut Stream,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(stream, "stream")?;
        let engine = handle(engine, "engine")?;
        let items = open(engine, kind, selection)?;
        out.set(Box::into_raw(Box::new(Stream::new(engine, items)?)));
        Ok(())
    }
}

/// Which lines of a log. Zero-initialize it and set `size` to `sizeof(pinnace_log_options_t)`;
/// strings are borrowed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LogOptions {
    /// Its own size.
    pub size: usize,
    /// The container; may be NULL for a pod that has one.
    pub container: *const c_char,
    /// Only so many lines before the present end; 0 for all.
    pub tail_lines: u64,
    /// Only lines that are not older than so many milliseconds; 0 for all.
    pub since_ms: u64,
    /// End after so many bytes; 0 for all.
    pub limit_bytes: u64,
    /// The log of the attempt before the last restart.
    pub previous: bool,
    /// Put the time before each line.
    pub timestamps: bool,
}

fn read_options(pointer: *const LogOptions, follow: bool) -> Result<ReadOptions, Failure> {
    // SAFETY: zero is numbers, NULL and false, and the size comes first.
    let given = unsafe { options(pointer, "options") }?;
    let LogOptions { container, tail_lines, since_ms, limit_bytes, previous, timestamps, .. } =
        given;
    let some = |number: u64| (number > 0).then_some(number);
    Ok(ReadOptions {
        container: optional_text(container, "container")?.map(str::to_owned),
        previous,
        follow,
        tail_lines: some(tail_lines),
        since: some(since_ms).map(Duration::from_millis),
        timestamps,
        limit_bytes: some(limit_bytes),
    })
}

/// The log of a container of a pod, up to now. Everything is borrowed; `namespace_` and `options`
/// may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_logs(
    engine: *const Engine,
    pod: *const c_char,
    namespace_: *const c_char,
    options: *const LogOptions,
    log: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(log, "log")?;
        let engine = handle(engine, "engine")?;
        let pod = text(pod, "pod")?;
        let options = read_options(options, false)?;
        let at = engine.at(namespace_)?;
        let lines: Vec<_> = engine.wait(async {
            at.logs(pod, options).await?.map_ok(|line| line.text).try_collect().await
        })?;
        out.set(Bytes::new(&lines.concat()));
        Ok(())
    }
}

/// As `pinnace_engine_logs`, but goes on until the container ends: each item of the stream is a
/// line, with its newline. `*stream` is owned by the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_follow_logs(
    engine: *const Engine,
    pod: *const c_char,
    namespace_: *const c_char,
    options: *const LogOptions,
    stream: *mut *mut Stream,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(stream, "stream")?;
        let engine = handle(engine, "engine")?;
        let pod = text(pod, "pod")?;
        let options = read_options(options, true)?;
        let at = engine.at(namespace_)?;
        let lines = engine.wait(at.logs(pod, options))?;
        let items = lines.map_ok(|line| line.text.to_vec()).boxed();
        out.set(Box::into_raw(Box::new(Stream::new(engine, items)?)));
        Ok(())
    }
}

/// Takes the next item of a stream, and waits for it at most `timeout_ms` milliseconds
/// (`UINT64_MAX` for as long as it takes, 0 not at all). When none has come, this succeeds and
/// `item->data` is NULL; else the item is the caller's to delete. At the end of the stream
/// `PINNACE_CODE_CLOSED`; an error that has ended it comes before that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_stream_next(
    stream: *const Stream,
    timeout_ms: u64,
    item: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(item, "item")?;
        let stream = handle(stream, "stream")?;
        let timeout = (timeout_ms < u64::MAX).then(|| Duration::from_millis(timeout_ms));
        let item = stream.queue.next(timeout)?;
        out.set(item.map_or(Bytes::none(), |item| Bytes::new(&item)));
        Ok(())
    }
}

/// A descriptor that is readable while the stream has an item or has ended, for `poll` and event
/// loops; -1 for NULL. It belongs to the stream: neither read nor close it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_stream_fd(stream: *const Stream) -> i32 {
    quiet!(-1, handle(stream, "stream").ok().map(|stream| stream.queue.ready.as_raw_fd()))
}

/// Ends a stream, also for a thread that waits for its next item. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_stream_stop(stream: *const Stream) {
    quiet!((), handle(stream, "stream").ok().map(|stream| stream.stop.cancel()))
}

/// Ends and frees a stream. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_stream_delete(stream: *mut Stream) {
    quiet!((), taken(stream).map(|stream| stream.stop.cancel()))
}

/// A watch whose events come by callback.
pub struct Watch {
    stop: CancellationToken,
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    is: Mutex<bool>,
    changed: Condvar,
}

/// Tells who waits for the end of a watch.
struct EndOfWatch(Arc<Ended>);

impl Drop for EndOfWatch {
    fn drop(&mut self) {
        *self.0.is.lock() = true;
        self.0.changed.notify_all();
    }
}

type Event = unsafe extern "C" fn(*mut c_void, *const c_char, usize, *const PinnaceError) -> bool;

/// Dropped when no call will come any more: then the user data are ended, and after that the watch.
struct Caller {
    callback: Event,
    user_data: UserData,
    _end: EndOfWatch,
}

impl Caller {
    fn call(&self, item: pinnace::Result<Vec<u8>>) -> bool {
        called_back(|| match item {
            Ok(event) => {
                let mut event = Bytes::new(&event);
                // SAFETY: C has given a function for its user data; the event outlives the call.
                let goes_on = unsafe {
                    let none = std::ptr::null();
                    (self.callback)(self.user_data.get(), event.data, event.len, none)
                };
                // SAFETY: made by `Bytes::new` just now.
                unsafe { crate::bytes::pinnace_bytes_delete(&mut event) };
                goes_on
            }
            Err(error) => {
                let error = PinnaceError::from(Failure::from(error));
                // SAFETY: as above.
                unsafe { (self.callback)(self.user_data.get(), std::ptr::null(), 0, &error) };
                false
            }
        })
    }
}

/// Watches the objects of a kind as `pinnace_engine_watch` does, and calls `callback` for each
/// event, on a thread of the engine, until it returns false, the watch is deleted or the engine
/// ends.
///
/// `kind` and `selection` are borrowed; a NULL `selection` selects everything. `user_data` stays
/// borrowed until `finalizer` is called. `*watch` is owned by the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_watch_with(
    engine: *const Engine,
    kind: *const c_char,
    selection: *const Selection,
    callback: WatchCallback,
    user_data: *mut c_void,
    finalizer: Finalizer,
    watch: *mut *mut Watch,
) -> *mut PinnaceError {
    boundary! {
        let user_data = UserData::new(user_data, finalizer);
        let callback = callback.ok_or(Failure::Null("callback"))?;
        let out = Out::required(watch, "watch")?;
        let engine = handle(engine, "engine")?;
        let mut items = open(engine, kind, selection)?;
        let stop = CancellationToken::new();
        let ended = Arc::new(Ended::default());
        let stopped = stop.clone();
        let caller = Arc::new(Caller { callback, user_data, _end: EndOfWatch(ended.clone()) });
        engine.0.handle()?.spawn(async move {
            while let Some(Some(item)) = stopped.run_until_cancelled(items.next()).await {
                let caller = caller.clone();
                let called = tokio::task::spawn_blocking(move || caller.call(item));
                if !called.await.unwrap_or(false) {
                    break;
                }
            }
        });
        out.set(Box::into_raw(Box::new(Watch { stop, ended })));
        Ok(())
    }
}

/// Ends and frees a watch. No call is under way and the finalizer has been called when this
/// returns, unless it is called from within a callback. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_watch_delete(watch: *mut Watch) {
    quiet!((), {
        let watch = taken(watch)?;
        watch.stop.cancel();
        if !crate::controller::is_called_back() {
            let mut ended = watch.ended.is.lock();
            watch.ended.changed.wait_while(&mut ended, |ended| !*ended);
        }
        Some(())
    })
}
