use k8s_openapi::api::resource::v1::{
    DeviceClaim, ResourceClaim, ResourceClaimStatus, ResourceClaimTemplate,
};
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::{ApiError, Key, Result};

use super::{Admission, AdmissionRequest, Operation};

/// The label of namespaces in which devices may be looked after.
const LABEL: &str = "resource.kubernetes.io/admin-access";

/// Where it is asked for, and where it is given. Upstream names requests of templates as if they
/// were of claims.
const REQUESTS: &str = "spec.devices.requests";
const RESULTS: &str = "status.allocation.devices.results";

/// Lets claims that reach into devices that others use be made in namespaces for it alone.
pub(super) struct DeviceAdminAccess;

impl Admission for DeviceAdminAccess {
    fn name(&self) -> &'static str {
        "DeviceAdminAccess"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        let Some(new) = request.new.as_deref() else { return Ok(()) };
        let asked = if let Some(claim) = new.get::<ResourceClaim>() {
            let before = request.old.map(|old| old.get::<ResourceClaim>()).transpose()?;
            let had = before.and_then(|claim| granted(claim.status.as_ref())).is_some();
            match request.operation {
                Operation::Create => {
                    claim.spec.devices.as_ref().and_then(wanted).map(|index| (REQUESTS, index))
                }
                _ if had => None,
                _ => granted(claim.status.as_ref()).map(|index| (RESULTS, index)),
            }
        } else if let Some(template) = new.get::<ResourceClaimTemplate>() {
            let devices = template.spec.spec.devices.as_ref();
            let is_new = request.operation == Operation::Create;
            devices.filter(|_| is_new).and_then(wanted).map(|index| (REQUESTS, index))
        } else {
            None
        };
        let Some((list, index)) = asked else { return Ok(()) };
        let namespace = request.snapshot.get("namespaces", &Key::cluster(request.key.namespace()));
        let labels = namespace.and_then(|namespace| namespace.meta().labels.as_ref());
        if labels.and_then(|labels| labels.get(LABEL)).is_some_and(|value| value == "true") {
            return Ok(());
        }
        let mut errors = ErrorList::default();
        let why = format!(
            "admin access to devices requires the `{LABEL}: true` label on the containing namespace"
        );
        errors.forbidden(&Path::root(list).index(index).child("adminAccess"), &why);
        Err(ApiError::invalid(request.resource, request.key.name(), &errors))
    }
}

fn wanted(devices: &DeviceClaim) -> Option<usize> {
    let requests = devices.requests.as_deref()?;
    requests.iter().position(|request| {
        request.exactly.as_ref().is_some_and(|exactly| exactly.admin_access == Some(true))
    })
}

fn granted(status: Option<&ResourceClaimStatus>) -> Option<usize> {
    let results = status?.allocation.as_ref()?.devices.as_ref()?.results.as_deref()?;
    results.iter().position(|result| result.admin_access == Some(true))
}
