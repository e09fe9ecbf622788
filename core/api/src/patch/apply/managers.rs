use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};

use super::element::PathElement;
use super::field_set::FieldSet;
use super::{FieldManager, MAX_UPDATE_MANAGERS};
use crate::schema::TypeRef;

/// How a manager changes objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells managers apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManagerId {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Empty for those who apply: they are the same in every version.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl ManagerId {
    pub(super) fn applier(by: &FieldManager<'_>) -> Self {
        Self { operation: Operation::Apply, api_version: String::new(), ..Self::updater(by) }
    }

    pub(super) fn updater(by: &FieldManager<'_>) -> Self {
        let name = if by.name.is_empty() { "unknown" } else { by.name };
        Self {
            name: name.to_owned(),
            operation: Operation::Update,
            api_version: by.api_version.to_owned(),
            subresource: by.subresource.to_owned(),
        }
    }

    /// A write that is going on. It has no version, as no manager of writes can have.
    pub(super) fn current() -> Self {
        Self {
            name: String::new(),
            operation: Operation::Update,
            api_version: String::new(),
            subresource: String::new(),
        }
    }
}

/// What a manager owns.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) set: FieldSet,
    pub(super) api_version: String,
    pub(super) time: Option<Time>,
}

/// Who owns what: `metadata.managedFields`.
#[derive(Clone, Debug, Default)]
pub(super) struct Managed(BTreeMap<ManagerId, Owned>);

impl Managed {
    pub(super) fn decode(entries: &[ManagedFieldsEntry]) -> Result<Self, String> {
        let mut managed = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            let operation = match entry.operation.as_deref() {
                Some("Apply") => Operation::Apply,
                Some("Update") => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let api_version = entry.api_version.clone().unwrap_or_default();
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match entry.fields_type.as_deref().unwrap_or_default() {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
                other => {
                    return Err(format!(
                        "invalid fieldsType {other:?} in managed fields entry {index}"
                    ));
                }
            }
            let set = match &entry.fields_v1 {
                Some(fields) => FieldSet::from_fields_v1(&fields.0)?,
                None => FieldSet::default(),
            };
            let id = ManagerId {
                name: entry.manager.clone().unwrap_or_default(),
                operation,
                api_version: match operation {
                    Operation::Apply => String::new(),
                    Operation::Update => api_version.clone(),
                },
                subresource: entry.subresource.clone().unwrap_or_default(),
            };
            managed.insert(id, Owned { set, api_version, time: entry.time.clone() });
        }
        Ok(managed)
    }

    pub(super) fn encode(self) -> Vec<ManagedFieldsEntry> {
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let mut entries: Vec<_> = self
            .0
            .into_iter()
            .map(|(id, owned)| ManagedFieldsEntry {
                manager: some(id.name),
                operation: Some(id.operation.as_str().to_owned()),
                api_version: Some(owned.api_version),
                subresource: some(id.subresource),
                time: owned.time,
                fields_type: Some("FieldsV1".to_owned()),
                fields_v1: Some(FieldsV1(owned.set.to_fields_v1())),
            })
            .collect();
        entries.sort_by(|a, b| {
            let key = |entry: &ManagedFieldsEntry| (entry.operation.clone(), seconds(&entry.time));
            key(a).cmp(&key(b)).then_with(|| {
                let key = |entry: &ManagedFieldsEntry| {
                    (entry.manager.clone(), entry.api_version.clone(), entry.subresource.clone())
                };
                key(a).cmp(&key(b))
            })
        });
        entries
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, id: &ManagerId) -> Option<&Owned> {
        self.0.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &ManagerId) -> Option<&mut Owned> {
        self.0.get_mut(id)
    }

    pub(super) fn insert(&mut self, id: ManagerId, owned: Owned) {
        self.0.insert(id, owned);
    }

    pub(super) fn remove(&mut self, id: &ManagerId) -> Option<Owned> {
        self.0.remove(id)
    }

    /// All but one.
    pub(super) fn others<'a>(
        &'a mut self,
        id: &'a ManagerId,
    ) -> impl Iterator<Item = (&'a ManagerId, &'a mut Owned)> {
        self.0.iter_mut().filter(move |(other, _)| *other != id)
    }

    /// What anybody owns.
    pub(super) fn union(&self) -> FieldSet {
        self.0.values().fold(FieldSet::default(), |all, owned| all.union(&owned.set))
    }

    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|_, owned| !owned.set.is_empty());
    }

    /// Brings all up to date with the type as it is now.
    pub(super) fn reconciled(mut self, ty: TypeRef<'_>) -> Self {
        for owned in self.0.values_mut() {
            owned.set = owned.set.reconciled(ty);
        }
        self
    }

    /// Takes from a manager what nobody can own.
    pub(super) fn strip(&mut self, id: &ManagerId) {
        if let Some(owned) = self.0.get_mut(id) {
            owned.set = owned.set.difference(&not_owned());
            if owned.set.is_empty() {
                self.0.remove(id);
            }
        }
    }

    /// Takes the oldest managers of ordinary writes together while there are too many.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<_> = self
            .0
            .iter()
            .filter(|(id, _)| id.operation == Operation::Update)
            .map(|(id, owned)| (seconds(&owned.time), id.clone()))
            .collect();
        if updaters.len() <= MAX_UPDATE_MANAGERS {
            return;
        }
        updaters.sort();
        let mut too_many = updaters.len() - MAX_UPDATE_MANAGERS;
        let mut first_of_version: BTreeMap<String, ManagerId> = BTreeMap::new();
        for (_, id) in updaters {
            if too_many == 0 {
                break;
            }
            let Some(first) = first_of_version.get(&id.api_version) else {
                first_of_version.insert(id.api_version.clone(), id);
                continue;
            };
            let bucket = ManagerId {
                name: "ancient-changes".to_owned(),
                operation: Operation::Update,
                api_version: id.api_version.clone(),
                subresource: String::new(),
            };
            let before = self.0.get(&bucket).map(|owned| owned.set.clone());
            let before = before.or_else(|| self.0.remove(first).map(|owned| owned.set));
            if let Some(mut owned) = self.0.remove(&id) {
                owned.set = owned.set.union(&before.unwrap_or_default());
                self.0.insert(bucket, owned);
                too_many -= 1;
            }
        }
    }
}

fn seconds(time: &Option<Time>) -> i64 {
    time.as_ref().map_or(0, |time| time.0.as_second())
}

/// What is the server's or the object's own.
fn not_owned() -> FieldSet {
    let mut set = FieldSet::default();
    let metadata = PathElement::field("metadata");
    for name in ["apiVersion", "kind", "metadata"] {
        set.insert(&[PathElement::field(name)]);
    }
    for name in [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ] {
        set.insert(&[metadata.clone(), PathElement::field(name)]);
    }
    set
}
