use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};

use super::element::{PathElement, shown};
use super::field_set::FieldSet;
use super::managers::{ManagerId, Operation};
use crate::ApiError;

/// Fields that others own and have differently, ordered by manager.
#[derive(Default)]
pub(super) struct Conflicts(Vec<(ManagerId, Vec<PathElement>)>);

impl Conflicts {
    pub(super) fn add(&mut self, manager: &ManagerId, fields: &FieldSet) {
        let add = &mut |path: &[PathElement]| self.0.push((manager.clone(), path.to_vec()));
        fields.for_each(&mut Vec::new(), add);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are not in a set.
    pub(super) fn without(&self, allowed: &FieldSet) -> Self {
        let left = self.0.iter().filter(|(_, path)| {
            let mut one = FieldSet::default();
            one.insert(path);
            !one.difference(allowed).is_empty()
        });
        Self(left.cloned().collect())
    }
}

impl From<Conflicts> for ApiError {
    fn from(conflicts: Conflicts) -> Self {
        let message = match &conflicts.0[..] {
            [(manager, path)] => format!(
                "Apply failed with 1 conflict: conflict with {}: {}",
                name(manager),
                shown(path)
            ),
            many => {
                let mut lines = Vec::new();
                let mut last = None;
                for (manager, path) in many {
                    if last != Some(manager) {
                        lines.push(format!("conflicts with {}:", name(manager)));
                        last = Some(manager);
                    }
                    lines.push(format!("- {}", shown(path)));
                }
                format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
            }
        };
        let cause = |(manager, path): &(ManagerId, Vec<PathElement>)| StatusCause {
            field: Some(shown(path)),
            message: Some(format!("conflict with {}", name(manager))),
            reason: Some("FieldManagerConflict".to_owned()),
        };
        let causes = Some(conflicts.0.iter().map(cause).collect());
        Self::from_status(Status {
            code: Some(409),
            reason: Some("Conflict".to_owned()),
            message: Some(message),
            details: Some(StatusDetails { causes, ..Default::default() }),
            ..Default::default()
        })
    }
}

fn name(manager: &ManagerId) -> String {
    let mut name = format!("{:?}", manager.name);
    if !manager.subresource.is_empty() {
        name += &format!(" with subresource {:?}", manager.subresource);
    }
    if manager.operation == Operation::Update {
        name += &format!(" using {}", manager.api_version);
    }
    name
}
