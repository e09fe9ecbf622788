//! What benchmarks have in common: how often they run, and a line of JSON per figure.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Builder;

pub(crate) const RUNS: usize = 7;

pub(crate) fn wanted(name: &str) -> bool {
    let mut filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    filters.next().is_none_or(|filter| name.contains(&filter))
}

/// Reports the best of several runs, for what else the machine does only ever makes it worse.
pub(crate) fn least(name: &str, unit: &str, target: Option<f64>, run: impl FnMut() -> f64) {
    if wanted(name) {
        let runs = std::iter::repeat_with(run).take(RUNS);
        let best = if unit.ends_with("/s") {
            runs.fold(0.0, f64::max)
        } else {
            runs.fold(f64::INFINITY, f64::min)
        };
        report(name, best, unit, target);
    }
}

/// Upstream's own figures on the same kind of machine, in the same units: of the whole control
/// plane with etcd.
const UPSTREAM: [(&str, f64); 3] = [
    ("engine/idle memory with the front", 473.0),
    ("engine/start to readyz, warm data directory", 2430.0),
    ("engine/deployment of 1000: all bound", 3300.0),
];

pub(crate) fn report(name: &str, value: f64, unit: &str, target: Option<f64>) {
    let upstream = UPSTREAM.iter().find(|(known, _)| *known == name);
    let upstream = upstream.map_or_else(|| "null".to_owned(), |(_, figure)| figure.to_string());
    let rate = unit.ends_with("/s");
    let (target, met) = match target {
        Some(target) => (target.to_string(), (rate == (value >= target)).to_string()),
        None => ("null".to_owned(), "null".to_owned()),
    };
    println!(
        r#"{{"name": "{name}", "value": {value:.3}, "unit": "{unit}", "target": {target}, "met": {met}, "upstream": {upstream}}}"#
    );
}

pub(crate) fn block_on<T>(threads: usize, future: impl Future<Output = T>) -> T {
    let runtime = match threads {
        1 => Builder::new_current_thread().enable_all().build().unwrap(),
        threads => {
            Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
        }
    };
    runtime.block_on(future)
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
