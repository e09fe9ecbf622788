//! Who owns which field: `metadata.managedFields` for writes of all kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use pinnace_api::patch::track_update;
use pinnace_api::schema::KindType;
use pinnace_api::{Draft, Object, Ownership, Resource, Result, Writer};
use pinnace_client::{Subresource, Target, WriteOptions};

use crate::{Server, User};

type Paths = &'static [&'static [&'static str]];

/// What a write through the object itself does not change, where status is a subresource.
const NOT_STATUS: Paths = &[&["status"]];
/// What a write of the status does not change, by kind; [`NOT_SPEC`] where nothing is said.
const NOT_STATUS_OF: &[(&str, Paths)] = &[
    ("pods", &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]]),
    ("deployments.apps", &[&["spec"], &["metadata", "labels"]]),
    ("certificatesigningrequests.certificates.k8s.io", &[&["spec"], &["status", "conditions"]]),
    ("flowschemas.flowcontrol.apiserver.k8s.io", NOT_METADATA),
    ("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", NOT_METADATA),
    ("resourceclaims.resource.k8s.io", NOT_METADATA),
    ("servicecidrs.networking.k8s.io", NOT_METADATA),
    ("validatingadmissionpolicies.admissionregistration.k8s.io", NOT_METADATA),
    ("volumeattachments.storage.k8s.io", NOT_METADATA),
];
const NOT_METADATA: Paths = &[&["metadata"], &["spec"]];
const NOT_SPEC: Paths = &[&["spec"]];
/// What an approval does not change.
const NOT_APPROVAL: Paths = &[&["spec"], &["status", "certificate"]];

impl Server {
    /// Notes who owns the fields of a new object, which is accepted and not prepared yet: of the
    /// fields that the writer sees.
    pub(crate) fn own_new(
        &self,
        user: &User,
        target: &Target,
        draft: &mut Draft,
        options: &WriteOptions,
    ) -> Result<()> {
        let sent = draft.meta_mut().managed_fields.take();
        let Some(kind) = target.resource.kind_type() else { return Ok(()) };
        let writer = self.writer(user, &target.resource, kind.clone(), target.subresource, options);
        let ownership = match sent.filter(|sent| !sent.is_empty()) {
            None => Ownership::created(writer, &*target.resource.draft_to_served(draft)?)?,
            sent => {
                let value = target.resource.draft_to_served(draft)?.to_value()?;
                let by = writer.manager();
                Ownership::known(track_update(kind.get(), None, &value, sent.as_deref(), &by))
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
        let Some(kind) = target.resource.kind_type() else {
            new.set_ownership(Ownership::kept(old));
            return Ok(());
        };
        let writer = self.writer(user, &target.resource, kind.clone(), target.subresource, options);
        // Most who send it have read it before.
        let sent = sent
            .filter(|sent| target.subresource.is_none() && sent.as_slice() != old.managed_fields());
        let resource = &target.resource;
        let ownership = match sent {
            None if resource.is_stored() => Ownership::changed(writer, old),
            // What is worked out later is worked out of the stored form, so this is done now.
            sent => {
                let before = resource.to_served(old.clone())?.to_unmanaged_value()?;
                let after = resource.draft_to_served(new)?.to_value()?;
                let live = Some((&before, old.managed_fields()));
                let by = writer.manager();
                Ownership::known(track_update(kind.get(), live, &after, sent.as_deref(), &by))
            }
        };
        new.set_ownership(ownership);
        Ok(())
    }

    pub(crate) fn writer(
        &self,
        user: &User,
        resource: &Resource,
        kind: KindType,
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
