//! Who owns which field: `metadata.managedFields` for writes of all kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use pinnace_api::patch::track_update;
use pinnace_api::schema::TypeRef;
use pinnace_api::{Draft, Object, Ownership, Resource, Result, Writer};
use pinnace_client::{Subresource, Target, WriteOptions};

use crate::patching::type_of;
use crate::{Server, User};

type Paths = &'static [&'static [&'static str]];

/// What a write through the object itself does not change, where status is a subresource.
const NOT_STATUS: Paths = &[&["status"]];
/// What a write of the status does not change, by kind; [`NOT_SPEC`] where nothing is said.
const NOT_STATUS_OF: &[(&str, Paths)] = &[
    ("pods", &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]),
    ("deployments.apps", &[&["spec"], &["metadata", "labels"]]),
    ("certificatesigningrequests.certificates.k8s.io", &[&["spec"], &["status", "conditions"]]),
];
const NOT_SPEC: Paths = &[&["spec"]];
/// What an approval does not change.
const NOT_APPROVAL: Paths = &[&["spec"], &["status", "certificate"]];

impl Server {
    /// Notes who owns the fields of a new object, which is defaulted and not prepared yet.
    pub(crate) fn own_new(
        &self,
        user: &User,
        target: &Target,
        draft: &mut Draft,
        options: &WriteOptions,
    ) -> Result<()> {
        let sent = draft.meta_mut().managed_fields.take();
        let Some(kind) = type_of(&target.resource) else { return Ok(()) };
        let writer = self.writer(user, &target.resource, kind, target.subresource, options);
        let ownership = match sent.filter(|sent| !sent.is_empty()) {
            None => Ownership::created(writer, draft)?,
            sent => {
                let value = draft.to_value()?;
                let by = writer.manager();
                Ownership::known(track_update(kind, None, &value, sent.as_deref(), &by))
            }
        };
        draft.set_ownership(ownership);
        Ok(())
    }

    /// Notes who owns the fields of a changed object; `sent` is what the writer says of it.
    pub(crate) fn own_changed(
        &self,
        user: &User,
        target: &Target,
        new: &mut Draft,
        old: &Object,
        sent: Option<Vec<ManagedFieldsEntry>>,
        options: &WriteOptions,
    ) -> Result<()> {
        let Some(kind) = type_of(&target.resource) else {
            new.set_ownership(Ownership::kept(old));
            return Ok(());
        };
        let writer = self.writer(user, &target.resource, kind, target.subresource, options);
        // Most who send it have read it before.
        let sent = sent
            .filter(|sent| target.subresource.is_none() && sent.as_slice() != old.managed_fields());
        let ownership = match sent {
            None => Ownership::changed(writer, old),
            Some(sent) => {
                let (before, after) = (old.to_unmanaged_value()?, new.to_value()?);
                let live = Some((&before, old.managed_fields()));
                Ownership::known(track_update(kind, live, &after, Some(&sent), &writer.manager()))
            }
        };
        new.set_ownership(ownership);
        Ok(())
    }

    pub(crate) fn writer(
        &self,
        user: &User,
        resource: &Resource,
        kind: TypeRef<'static>,
        subresource: Option<Subresource>,
        options: &WriteOptions,
    ) -> Writer {
        // Components in the same process have no user agent: theirs would be their own name.
        let program = || user.name.rsplit(':').next().unwrap_or_default();
        Writer {
            kind,
            name: options.field_manager.as_deref().unwrap_or_else(program).to_owned(),
            api_version: resource.api_version().into_owned(),
            subresource: subresource.map_or("", Subresource::as_str),
            time: Time(self.env().clock().now_seconds()),
            reset_fields: reset_fields(resource, subresource),
        }
    }
}

fn reset_fields(resource: &Resource, subresource: Option<Subresource>) -> Paths {
    match subresource {
        None | Some(Subresource::Finalize) if resource.subresources.status => NOT_STATUS,
        Some(Subresource::Status) => {
            let of = NOT_STATUS_OF.iter().find(|(name, _)| **name == **resource.name());
            of.map_or(NOT_SPEC, |(_, paths)| paths)
        }
        Some(Subresource::Approval) => NOT_APPROVAL,
        _ => &[],
    }
}
