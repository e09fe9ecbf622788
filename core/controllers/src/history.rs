//! The history of a set's template: a ControllerRevision for every template it has had.
//!
//! A template that comes again, as in a rollback, is the revision that it was, with a new number:
//! pods that still have it need not be made anew.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Key, Kind, Result, Typed};
use pinnace_client::{Api, DeleteOptions, Lister};
use serde_json::{Value, json};

use crate::Context;
use crate::claim::controller_reference;
use crate::template_hash::hash;
use crate::written::Written;

/// The label that says of a pod which revision it was made from.
pub(crate) const HASH_LABEL: &str = "controller-revision-hash";
/// The index of revisions without controller, by namespace.
const ORPHANS: &str = "orphans";
/// How many names are tried for a new revision in one look.
const MAX_COLLISIONS: i32 = 16;

/// The revisions of owners of a kind.
pub(crate) struct History<K> {
    owners: Api<K>,
    revisions: Lister<ControllerRevision>,
    api: Api<ControllerRevision>,
    written: Written,
    hash_label: &'static str,
}

/// A set's history.
pub(crate) struct Revisions {
    /// That of the template as it is now.
    pub(crate) update: Typed<ControllerRevision>,
    /// The others, oldest first.
    pub(crate) old: Vec<Typed<ControllerRevision>>,
    /// How often another template had a revision's name already.
    pub(crate) collisions: i32,
}

impl<K: Kind + k8s_openapi::Resource> History<K> {
    /// Revisions whose hash is kept in a label.
    ///
    /// # Errors
    /// `NotFound` when the API does not serve the kind or revisions.
    pub(crate) fn new(context: &Context, hash_label: &'static str) -> Result<Self> {
        let revisions = context.informers.of::<ControllerRevision>()?.index_by_controller();
        revisions.informer().index(ORPHANS, |revision| match revision.controller() {
            None => vec![revision.namespace().to_owned()],
            Some(_) => vec![],
        });
        let (owners, api) = (context.client().of()?, context.client().of()?);
        Ok(Self { owners, revisions, api, written: Written::default(), hash_label })
    }

    /// The cache of revisions.
    pub(crate) fn lister(&self) -> &Lister<ControllerRevision> {
        &self.revisions
    }

    /// Waits until the cache has seen what was written for an owner.
    pub(crate) async fn caught_up(&self, owner: &Key) {
        self.written.seen_by(self.revisions.informer(), owner).await;
    }

    /// The history of an owner whose template is `template` now; makes or renumbers the revision
    /// of that one where it is not the newest.
    ///
    /// # Errors
    /// Those of the API.
    pub(crate) async fn of(
        &self,
        owner: &Typed<K>,
        selector: &Selector,
        template: &PodTemplateSpec,
        collisions: i32,
    ) -> Result<Revisions> {
        let mut all = self.revisions.owned_by(owner.object().uid());
        all.extend(self.adopt(owner, selector).await?);
        all.sort_by_key(|one| (one.revision, one.object().revision()));
        let data = data_of(template)?;
        let next = all.last().map_or(1, |newest| newest.revision.saturating_add(1));
        let known = all.iter().rposition(|one| holds(one, &data));
        let (update, collisions) = match known {
            Some(at) if at + 1 == all.len() => (all.remove(at), collisions),
            Some(at) => {
                let key = all.remove(at).object().key();
                let number = |one: &mut ControllerRevision| {
                    one.revision = next;
                    true
                };
                let update = self.api.modify(&key, number).await?;
                self.written.note(&owner.object().key(), update.object().revision());
                (update, collisions)
            }
            None => self.make(owner, template, data, next, collisions).await?,
        };
        Ok(Revisions { update, old: all, collisions })
    }

    async fn make(
        &self,
        owner: &Typed<K>,
        template: &PodTemplateSpec,
        data: Value,
        number: i64,
        mut collisions: i32,
    ) -> Result<(Typed<ControllerRevision>, i32)> {
        let (meta, labels) = (owner.object().meta(), template.metadata.as_ref());
        for _ in 0..MAX_COLLISIONS {
            let hash = hash(template, collisions);
            let name = format!("{}-{hash}", owner.object().name());
            let mut labels = labels.and_then(|meta| meta.labels.clone()).unwrap_or_default();
            labels.insert(self.hash_label.to_owned(), hash);
            let revision = ControllerRevision {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    namespace: meta.namespace.clone(),
                    labels: Some(labels),
                    annotations: meta.annotations.clone(),
                    owner_references: Some(vec![controller_reference(
                        K::API_VERSION,
                        K::KIND,
                        meta,
                    )]),
                    ..Default::default()
                },
                data: Some(RawExtension(data.clone())),
                revision: number,
            };
            let made = match self.api.create(revision).await {
                Err(error) if error.is_already_exists() => {
                    let there = self.api.find(&Key::new(owner.object().namespace(), name)).await?;
                    // Gone again, or of a set of this name that was before: the next look makes it.
                    let there = there.ok_or(error)?;
                    if holds(&there, &data) {
                        let ours = there.object().controller().map(|owner| owner.uid.as_str())
                            == Some(owner.object().uid());
                        if !ours {
                            let why = "a revision of another owner has to go first";
                            return Err(ApiError::conflict(
                                self.api.dynamic().resource(),
                                there.object().name(),
                                why,
                            ));
                        }
                        there
                    } else {
                        collisions = collisions.saturating_add(1);
                        continue;
                    }
                }
                made => made?,
            };
            self.written.note(&owner.object().key(), made.object().revision());
            return Ok((made, collisions));
        }
        Err(ApiError::internal("every name for a new revision is taken"))
    }

    /// Adopts revisions that nobody owns any more, as after a deletion that left its pods.
    async fn adopt(
        &self,
        owner: &Typed<K>,
        selector: &Selector,
    ) -> Result<Vec<Typed<ControllerRevision>>> {
        let object = owner.object();
        let mut free = self.revisions.by_index(ORPHANS, object.namespace());
        free.retain(|one| selector.matches(one.object().labels()) && !one.object().is_deleting());
        if free.is_empty() || object.is_deleting() {
            return Ok(Vec::new());
        }
        let fresh = self.owners.find(&object.key()).await?;
        if !fresh.is_some_and(|fresh| {
            fresh.object().uid() == object.uid() && !fresh.object().is_deleting()
        }) {
            return Ok(Vec::new());
        }
        let mut adopted = Vec::new();
        let reference = controller_reference(K::API_VERSION, K::KIND, object.meta());
        for revision in free {
            let key = revision.object().key();
            let taken = self.api.modify(&key, |fresh| {
                let owners = fresh.metadata.owner_references.get_or_insert_default();
                let free = !owners.iter().any(|owner| owner.controller == Some(true));
                if free {
                    owners.push(reference.clone());
                }
                free
            });
            match taken.await {
                Ok(taken) => {
                    self.written.note(&object.key(), taken.object().revision());
                    let uid = taken.object().controller().map(|owner| owner.uid.clone());
                    if uid.as_deref() == Some(object.uid()) {
                        adopted.push(taken);
                    }
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(adopted)
    }

    /// Deletes the oldest of `old` until `limit` are left, but none that is `live`.
    ///
    /// # Errors
    /// Those of the API.
    pub(crate) async fn truncate(
        &self,
        old: &[Typed<ControllerRevision>],
        limit: Option<i32>,
        live: impl Fn(&ControllerRevision) -> bool,
    ) -> Result<()> {
        let keep = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let surplus = old.len().saturating_sub(keep);
        for revision in old.iter().filter(|one| !live(one)).take(surplus) {
            match self.api.delete(&revision.object().key(), DeleteOptions::default()).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a revision keeps: a patch that makes the template what it was.
fn data_of(template: &PodTemplateSpec) -> Result<Value> {
    let mut template = serde_json::to_value(template).map_err(|error| ApiError::encode(&error))?;
    template["$patch"] = json!("replace");
    Ok(json!({"spec": {"template": template}}))
}

fn holds(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.as_ref().is_some_and(|kept| kept.0 == *data)
}

/// The template that a revision keeps.
///
/// # Errors
/// When what it keeps is no template, as after somebody has written it by hand.
pub(crate) fn template_of(revision: &ControllerRevision) -> Result<PodTemplateSpec> {
    let data = revision.data.as_ref().map(|data| &data.0["spec"]["template"]);
    let mut template = data.cloned().unwrap_or_default();
    if let Some(fields) = template.as_object_mut() {
        fields.remove("$patch");
    }
    serde_json::from_value(template).map_err(|error| ApiError::decode(&error))
}
