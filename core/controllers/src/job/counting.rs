//! Which pods of a Job stand where, and the three steps by which those that ended are counted.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{Result, Typed};

use super::policies::{self, Verdict};
use super::{Jobs, TRACKING, conditions, has_finalizer, indexes, is_indexed, size};
use crate::pods;

/// How many pods one look counts at most: their uids stand in the status for a moment.
const MOST_UNCOUNTED: usize = 500;

/// How the pods of a Job stand.
#[derive(Default)]
pub(super) struct Count {
    /// Pods that neither have ended nor are going.
    pub(super) active: Vec<Typed<Pod>>,
    /// Those of them that are ready.
    pub(super) ready: usize,
    /// Pods that are going and have not ended.
    pub(super) terminating: usize,
    /// Indexes of the pods that are going.
    pub(super) terminating_indexes: BTreeSet<u32>,
    /// All that succeeded and failed, counted or not.
    pub(super) succeeded: usize,
    pub(super) failed: usize,
    /// Indexes that are done, and those that are given up.
    pub(super) succeeded_indexes: BTreeSet<u32>,
    pub(super) failed_indexes: BTreeSet<u32>,
    /// Pods that have ended and were not noted yet.
    pub(super) new_succeeded: Vec<Typed<Pod>>,
    pub(super) new_failed: Vec<Typed<Pod>>,
    /// Those of `new_failed` that a policy does not count.
    pub(super) ignored: HashSet<String>,
    /// Noted pods that still have the finalizer.
    pub(super) noted: Vec<Typed<Pod>>,
    /// How often each index has failed.
    pub(super) failures_of_index: BTreeMap<u32, IndexFailures>,
    /// Those of `new_failed` that must stay until their index has another pod: how often it has
    /// failed stands on no other.
    pub(super) kept: HashSet<String>,
}

/// How often an index has failed, and when last.
#[derive(Clone, Copy, Default)]
pub(super) struct IndexFailures {
    pub(super) counted: u32,
    /// Those that a policy does not count.
    pub(super) ignored: u32,
    pub(super) last: Timestamp,
}

impl IndexFailures {
    pub(super) fn all(self) -> u32 {
        self.counted.saturating_add(self.ignored)
    }
}

impl Count {
    /// Looks at all pods of a Job.
    pub(super) fn take(spec: &JobSpec, status: &JobStatus, pods: &[Typed<Pod>]) -> Self {
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let noted = |uid: &str| {
            let lists = [&uncounted.succeeded, &uncounted.failed];
            lists.into_iter().flatten().flatten().any(|one| one == uid)
        };
        let completions = u32::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
        let mut count = Self::default();
        if is_indexed(spec) {
            let text = |field: &Option<String>| indexes::parse(field.as_deref(), completions);
            count.succeeded_indexes = text(&status.completed_indexes);
            count.failed_indexes = text(&status.failed_indexes);
        }
        for pod in pods {
            count.sort(spec, pod, noted(pod.object().uid()), completions);
        }
        if is_indexed(spec) {
            for pod in &count.new_succeeded {
                count.succeeded_indexes.extend(below(pod, completions));
            }
            // Pods that are ended with the Job are no failures of their indexes.
            if policies::written(status).is_none() {
                count.fail_indexes(spec);
            }
            count.succeeded = count.succeeded_indexes.len();
        } else {
            let waiting = uncounted.succeeded.iter().flatten().count();
            count.succeeded = size(status.succeeded) + waiting + count.new_succeeded.len();
        }
        let waiting = uncounted.failed.iter().flatten().count();
        let new = count.new_failed.len() - count.ignored.len();
        count.failed = size(status.failed) + waiting + new;
        count
    }

    fn sort(&mut self, spec: &JobSpec, pod: &Typed<Pod>, noted: bool, completions: u32) {
        let going = pod.object().is_deleting();
        let tracked = has_finalizer(&pod.metadata);
        let succeeded = pods::phase(pod) == "Succeeded";
        let failed = !succeeded && is_failed(spec, pod);
        if failed && let Some(index) = below(pod, completions).next() {
            let known = self.failures_of_index.entry(index).or_default();
            let mut failures = policies::failures_with(spec, pod);
            failures.last = failures.last.max(known.last);
            if failures.all() >= known.all() {
                *known = failures;
            } else {
                known.last = failures.last;
            }
        }
        if succeeded || failed {
            match (tracked, noted) {
                (true, true) => self.noted.push(pod.clone()),
                (true, false) if succeeded => self.new_succeeded.push(pod.clone()),
                (true, false) => {
                    if policies::is_ignored(spec, pod) {
                        self.ignored.insert(pod.object().uid().to_owned());
                    }
                    self.new_failed.push(pod.clone());
                }
                (false, _) => {}
            }
        }
        if going && !pods::is_terminal(pod) {
            self.terminating += 1;
            self.terminating_indexes.extend(below(pod, completions));
        } else if !succeeded && !failed {
            self.ready += usize::from(pods::ready_since(pod).is_some());
            self.active.push(pod.clone());
        }
    }

    /// Keeps the last failed pod of each index that is to be tried again.
    pub(super) fn keep_last_failures(&mut self, spec: &JobSpec) {
        if spec.backoff_limit_per_index.is_none() {
            return;
        }
        let active: BTreeSet<u32> =
            self.active.iter().filter_map(|pod| indexes::index_of(pod)).collect();
        let completions = u32::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
        let mut last: BTreeMap<u32, (u32, &str)> = BTreeMap::new();
        for pod in &self.new_failed {
            for index in below(pod, completions) {
                let settled = [&active, &self.succeeded_indexes, &self.failed_indexes];
                if settled.iter().any(|indexes| indexes.contains(&index)) {
                    continue;
                }
                let failures = policies::failures_with(spec, pod).all();
                let known = last.entry(index).or_insert((failures, pod.object().uid()));
                if failures >= known.0 {
                    *known = (failures, pod.object().uid());
                }
            }
        }
        self.kept = last.into_values().map(|(_, uid)| uid.to_owned()).collect();
    }

    /// Gives up indexes that have failed too often.
    fn fail_indexes(&mut self, spec: &JobSpec) {
        let Some(limit) = spec.backoff_limit_per_index else { return };
        let limit = u32::try_from(limit).unwrap_or(0);
        for pod in &self.new_failed {
            let Some(index) = indexes::index_of(pod) else { continue };
            let given_up = policies::fails_index(spec, pod);
            let times = policies::index_failures(pod) + 1;
            let ignored = self.ignored.contains(pod.object().uid());
            if (given_up || (times > limit && !ignored)) && !self.succeeded_indexes.contains(&index)
            {
                self.failed_indexes.insert(index);
            }
        }
    }
}

/// The index of a pod, if it has one that counts.
fn below(pod: &Pod, completions: u32) -> impl Iterator<Item = u32> + use<> {
    indexes::index_of(pod).filter(|index| *index < completions).into_iter()
}

/// Whether a pod counts as failed. One that goes is replaced, and so has failed, before it has
/// ended, unless the Job wants it otherwise.
fn is_failed(spec: &JobSpec, pod: &Pod) -> bool {
    if pods::phase(pod) == "Failed" {
        return true;
    }
    let going = pod.metadata.deletion_timestamp.is_some();
    let only_failed = spec.pod_replacement_policy.as_deref() == Some("Failed");
    going && (!only_failed || pods::phase(pod) == "Pending")
}

impl Jobs {
    /// Counts what has ended and writes the status, if anything has changed; with the condition
    /// that finishes the Job once every pod is counted.
    pub(super) async fn write(
        &self,
        job: &Typed<Job>,
        spec: &JobSpec,
        mut status: JobStatus,
        count: &Count,
        verdict: Option<&Verdict>,
        now: Timestamp,
    ) -> Result<()> {
        let key = job.object().key();
        settle(&mut status, &self.claims.pods().owned_by(job.object().uid()));
        let active = i32::try_from(count.active.len()).unwrap_or(i32::MAX);
        status.active = (active != 0).then_some(active);
        status.ready = Some(i32::try_from(count.ready).unwrap_or(i32::MAX));
        status.terminating = Some(i32::try_from(count.terminating).unwrap_or(i32::MAX));
        if is_indexed(spec) {
            status.completed_indexes = indexes::format(&count.succeeded_indexes);
            if spec.backoff_limit_per_index.is_some() {
                // Upstream says that none has failed by an empty text.
                status.failed_indexes =
                    Some(indexes::format(&count.failed_indexes).unwrap_or_default());
            }
        }
        let ended = count.new_succeeded.iter().chain(&count.new_failed);
        let noting: Vec<_> = ended.filter(|pod| !count.kept.contains(pod.object().uid())).collect();
        let noting = &noting[..noting.len().min(MOST_UNCOUNTED)];
        note(&mut status, noting, count);
        let mut job = job.clone();
        if job.status.as_ref() != Some(&status) {
            job = self.store(&job, &status).await?;
        }
        let holding: Vec<_> = noting.iter().map(|pod| (*pod).clone()).collect();
        let holding: Vec<_> = holding.into_iter().chain(count.noted.iter().cloned()).collect();
        if !holding.is_empty() {
            self.control.take_finalizer(&key, &holding, TRACKING, &self.written).await?;
            self.backoffs.note(&key, count);
            replace(&mut status);
        }
        let all = count.new_succeeded.len() + count.new_failed.len() == noting.len();
        if let Some(verdict) = verdict.filter(|_| all && is_empty(&status)) {
            conditions::finish(&mut status, verdict, count, now);
        }
        if job.status.as_ref() != Some(&status) {
            let finished = conditions::finished(&status);
            let job = self.store(&job, &status).await?;
            if let Some(condition) = finished {
                self.tell_end(&job, &condition);
            }
        }
        Ok(())
    }

    async fn store(&self, job: &Typed<Job>, status: &JobStatus) -> Result<Typed<Job>> {
        let mut new = job.to_owned();
        new.status = Some(status.clone());
        self.api.update_status(new).await
    }
}

/// The third step for pods that were noted and have lost their finalizer since.
fn settle(status: &mut JobStatus, pods: &[Typed<Pod>]) {
    let held: HashSet<&str> = pods
        .iter()
        .filter(|pod| has_finalizer(&pod.metadata))
        .map(|pod| pod.object().uid())
        .collect();
    let Some(uncounted) = &mut status.uncounted_terminated_pods else { return };
    let take = |list: &mut Option<Vec<String>>| {
        let list = list.get_or_insert_default();
        let before = list.len();
        list.retain(|uid| held.contains(uid.as_str()));
        before - list.len()
    };
    let (succeeded, failed) = (take(&mut uncounted.succeeded), take(&mut uncounted.failed));
    add(&mut status.succeeded, succeeded);
    add(&mut status.failed, failed);
    tidy(status);
}

/// The first step.
fn note(status: &mut JobStatus, pods: &[&Typed<Pod>], count: &Count) {
    if pods.is_empty() {
        return;
    }
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    for pod in pods {
        let uid = pod.object().uid();
        let list = if pods::phase(pod) == "Succeeded" {
            &mut uncounted.succeeded
        } else if count.ignored.contains(uid) {
            continue;
        } else {
            &mut uncounted.failed
        };
        let list = list.get_or_insert_default();
        if !list.iter().any(|one| one == uid) {
            list.push(uid.to_owned());
        }
    }
    tidy(status);
}

/// The third step, for all.
fn replace(status: &mut JobStatus) {
    let uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    add(&mut status.succeeded, uncounted.succeeded.map_or(0, |list| list.len()));
    add(&mut status.failed, uncounted.failed.map_or(0, |list| list.len()));
    tidy(status);
}

fn add(count: &mut Option<i32>, more: usize) {
    let sum = count.unwrap_or(0).saturating_add(i32::try_from(more).unwrap_or(i32::MAX));
    *count = (sum != 0).then_some(sum);
}

fn tidy(status: &mut JobStatus) {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    for list in [&mut uncounted.succeeded, &mut uncounted.failed] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            *list = None;
        }
    }
}

fn is_empty(status: &JobStatus) -> bool {
    let none = UncountedTerminatedPods::default();
    status.uncounted_terminated_pods.as_ref().is_none_or(|uncounted| *uncounted == none)
}
