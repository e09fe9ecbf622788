use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{ApiError, Result};

/// The container that is meant: the named one, if the pod has it, or its only one.
///
/// # Errors
/// `BadRequest`, in upstream's words.
pub(super) fn container_of(pod: &Pod, wanted: Option<&str>) -> Result<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let Some(spec) = &pod.spec else {
        return Err(ApiError::bad_request(format!("pod {name} has no containers")));
    };
    let main = spec.containers.iter().map(|container| &*container.name);
    let init = spec.init_containers.iter().flatten().map(|container| &*container.name);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| &*container.name);
    if let Some(wanted) = wanted {
        let mut all = main.chain(init).chain(ephemeral);
        return if all.any(|container| container == wanted) {
            Ok(wanted.to_owned())
        } else {
            Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {name}")))
        };
    }
    let main: Vec<&str> = main.collect();
    if let [only] = main[..] {
        return Ok(only.to_owned());
    }
    let init: Vec<&str> = init.collect();
    let mut message = format!("a container name must be specified for pod {name}");
    if !main.is_empty() {
        message = format!("{message}, choose one of: [{}]", main.join(" "));
    }
    if !init.is_empty() {
        message = format!("{message} or one of the init containers: [{}]", init.join(" "));
    }
    Err(ApiError::bad_request(message))
}
