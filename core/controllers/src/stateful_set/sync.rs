//! One step after the other: places are filled in order, what has no place goes from the end, and
//! then pods of old revisions go, so that new ones are made in their places.
//!
//! In order each step waits for the one before, and a pod that does not become ready stops
//! everything: nothing is forced. In parallel nothing waits.

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pinnace_api::{ApiError, Result, Typed};
use pinnace_client::{DeleteOptions, EventType, Preconditions};

use super::look::{Look, Occupant, Place, is_going, is_rolling, partition, revision_of, spec};
use super::volumes::Member;
use super::{StatefulSets, identity};
use crate::pod_control::BURST;
use crate::pods;

/// Whether the next step may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl StatefulSets {
    /// Takes as many steps as can be taken now.
    ///
    /// # Errors
    /// Those of the API.
    pub(super) async fn sync(&self, look: &Look) -> Result<()> {
        if look.ordered {
            for place in &look.places {
                if self.tend(look, place).await? == Next::Stop {
                    return Ok(());
                }
            }
        } else {
            self.tend_all(look).await?;
        }
        for (ordinal, pod) in &look.surplus {
            let member = Member { meta: &pod.metadata, ordinal: *ordinal, surplus: true };
            self.volumes.follow_policy(&look.set, member).await?;
        }
        if self.scale_down(look).await? == Next::Stop {
            return Ok(());
        }
        self.update(look).await
    }

    /// Places in batches that double in size, so that what cannot work fails once.
    async fn tend_all(&self, look: &Look) -> Result<()> {
        let (mut done, mut batch) = (0, 1);
        while done < look.places.len() {
            let end = look.places.len().min(done + batch);
            let places = look.places[done..end].iter();
            for tended in join_all(places.map(|place| self.tend(look, place))).await {
                tended?;
            }
            done = end;
            batch = (batch * 2).min(BURST);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Looks after one place.
    async fn tend(&self, look: &Look, place: &Place) -> Result<Next> {
        let pod = match &place.pod {
            Occupant::Missing(pod) => return self.fill(look, place.ordinal, pod).await,
            Occupant::There(pod) => pod,
        };
        if pods::is_terminal(pod) {
            // Another is made when it is gone.
            if !is_going(pod) {
                self.delete(look, pod).await?;
            }
            return Ok(Next::Stop);
        }
        if pods::phase(pod) == "Pending" {
            self.volumes.make_missing(&look.set, pod.object().name(), place.ordinal).await?;
        }
        if look.ordered && !look.is_healthy(pod) {
            return Ok(Next::Stop);
        }
        let name = pod.object().name();
        let member = Member { meta: &pod.metadata, ordinal: place.ordinal, surplus: false };
        let updated = match self.volumes.follow_policy(&look.set, member).await {
            Ok(followed) => self.identify(look, pod, place.ordinal).await.map(|it| it || followed),
            Err(error) => Err(error),
        };
        match updated {
            Ok(false) => {}
            Ok(true) => self.tell(look, Verb::Update, name, None),
            Err(error) => {
                self.tell(look, Verb::Update, name, Some(&error));
                return Err(error);
            }
        }
        Ok(Next::Go)
    }

    async fn fill(&self, look: &Look, ordinal: i32, pod: &Pod) -> Result<Next> {
        let next = if look.ordered { Next::Stop } else { Next::Go };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        // The change of the claim brings the key back.
        if self.volumes.are_stale(&look.set, name, ordinal) {
            return Ok(Next::Stop);
        }
        let made = match self.volumes.make_missing(&look.set, name, ordinal).await {
            Ok(()) => self.pod_api.create(pod.clone()).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(made) => {
                self.written.note(&look.set.object().key(), made.object().revision());
                let member = Member { meta: &made.metadata, ordinal, surplus: false };
                self.volumes.tell_conflicts(&look.set, member);
                self.tell(look, Verb::Create, name, None);
                Ok(next)
            }
            Err(error) => {
                if !error.is_already_exists() {
                    self.tell(look, Verb::Create, name, Some(&error));
                }
                Err(error)
            }
        }
    }

    /// Gives a pod the labels back that say who it is. Gives whether it had lost them.
    async fn identify(&self, look: &Look, pod: &Typed<Pod>, ordinal: i32) -> Result<bool> {
        let labels = identity::labels(pod.object().name(), ordinal);
        let have = pod.object().labels();
        let right =
            |(key, value): &(&str, String)| have.and_then(|have| have.get(*key)) == Some(value);
        if labels.iter().all(right) {
            return Ok(false);
        }
        let key = pod.object().key();
        let changed = self.pod_api.modify(&key, |fresh| {
            let have = fresh.metadata.labels.get_or_insert_default();
            have.extend(labels.clone().map(|(key, value)| (key.to_owned(), value)));
            true
        });
        match changed.await {
            Ok(changed) => {
                self.written.note(&look.set.object().key(), changed.object().revision());
                Ok(true)
            }
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes what has no place, the last first.
    async fn scale_down(&self, look: &Look) -> Result<Next> {
        let sick = |pod: &&Typed<Pod>| !look.is_healthy(pod);
        let first_sick = look.surplus.iter().rev().map(|(_, pod)| pod).find(sick);
        for (_, pod) in &look.surplus {
            if is_going(pod) {
                if look.ordered {
                    return Ok(Next::Stop);
                }
                continue;
            }
            let is_first = first_sick.is_some_and(|first| first.object().same(pod.object()));
            if look.ordered && !look.is_available(pod) && !is_first {
                return Ok(Next::Stop);
            }
            self.delete(look, pod).await?;
            if look.ordered {
                return Ok(Next::Stop);
            }
        }
        Ok(Next::Go)
    }

    /// Deletes pods of old revisions, the last first, as long as not too many are missing.
    async fn update(&self, look: &Look) -> Result<()> {
        let spec = spec(&look.set);
        if !is_rolling(&spec) {
            return Ok(());
        }
        let rolling = spec.update_strategy.as_ref().and_then(|all| all.rolling_update.as_ref());
        let most = max_unavailable(
            rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
            look.places.len(),
        );
        let healthy = |place: &Place| place.pod().is_some_and(|pod| look.is_healthy(pod));
        let missing = look.places.iter().filter(|place| !healthy(place)).count();
        let old = look.places.iter().skip(partition(&spec)).rev().filter_map(Place::pod);
        let old = old.filter(|pod| revision_of(pod) != look.update && !is_going(pod));
        for pod in old.take(most.saturating_sub(missing)) {
            self.delete(look, pod).await?;
        }
        Ok(())
    }

    async fn delete(&self, look: &Look, pod: &Typed<Pod>) -> Result<()> {
        let uid = pod.metadata.uid.clone();
        let options = DeleteOptions {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteOptions::default()
        };
        let name = pod.object().name();
        match self.pod_api.delete(&pod.object().key(), options).await {
            Ok(last) => {
                self.written.note(&look.set.object().key(), last.object().revision());
                self.tell(look, Verb::Delete, name, None);
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.tell(look, Verb::Delete, name, None);
                Ok(())
            }
            Err(error) => {
                self.tell(look, Verb::Delete, name, Some(&error));
                Err(error)
            }
        }
    }

    fn tell(&self, look: &Look, verb: Verb, pod: &str, failed: Option<&ApiError>) {
        let set = look.set.object();
        let what = format!("{verb:?} Pod {pod} in StatefulSet {}", set.name());
        match failed {
            None => {
                let (reason, message) =
                    (format!("Successful{verb:?}"), format!("{what} successful"));
                self.recorder.record(set, EventType::Normal, &reason, message);
            }
            Some(error) => {
                let reason = format!("Failed{verb:?}");
                let message = format!("{what} failed error: {error}");
                self.recorder.record(set, EventType::Warning, &reason, message);
            }
        }
    }
}

/// What is done to a pod, by the names that Events have for it.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Create,
    Update,
    Delete,
}

/// How many of so many pods may be missing; shares are rounded down, but to no less than one.
fn max_unavailable(value: Option<&IntOrString>, replicas: usize) -> usize {
    let number = match value {
        None => 1,
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or(0),
        Some(IntOrString::String(text)) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
            percent.saturating_mul(replicas) / 100
        }
    };
    number.max(1)
}
