use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What a look at a namespace that goes has found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How many objects are left, by `plural.group`.
    pub(super) remaining: BTreeMap<String, usize>,
    /// How many objects a finalizer holds.
    pub(super) finalizers: BTreeMap<String, usize>,
    /// What could not be deleted.
    pub(super) errors: Vec<String>,
    /// Versions of groups of which is not known what they have, as `group/version`, in order.
    pub(super) undiscovered: Vec<String>,
    /// In how many seconds the rest should be gone.
    pub(super) estimate: u64,
}

/// A condition: its type, and reason and message when all is well.
type Condition = (&'static str, &'static str, &'static str);

const DISCOVERY: Condition = (
    "NamespaceDeletionDiscoveryFailure",
    "ResourcesDiscovered",
    "All resources successfully discovered",
);
const PARSING: Condition = (
    "NamespaceDeletionGroupVersionParsingFailure",
    "ParsedGroupVersions",
    "All legacy kube types successfully parsed",
);
const CONTENT: Condition = (
    "NamespaceDeletionContentFailure",
    "ContentDeleted",
    "All content successfully deleted, may be waiting on finalization",
);
const REMAINING: Condition =
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed");
const FINALIZERS: Condition = (
    "NamespaceFinalizersRemaining",
    "ContentHasNoFinalizers",
    "All content-preserving finalizers finished",
);

impl Findings {
    /// Puts the conditions in their place; says whether that has changed anything.
    pub(super) fn write(
        &self,
        conditions: &mut Option<Vec<NamespaceCondition>>,
        now: Timestamp,
    ) -> bool {
        let conditions = conditions.get_or_insert_default();
        let found = [
            (DISCOVERY, self.discovery()),
            // The catalog is parsed, so this cannot fail.
            (PARSING, None),
            (CONTENT, self.failure()),
            (REMAINING, self.remaining()),
            (FINALIZERS, self.finalizers()),
        ];
        let mut changed = false;
        for ((type_, reason, message), trouble) in found {
            let status = if trouble.is_some() { "True" } else { "False" };
            let (reason, message) = trouble.unwrap_or((reason, message.to_owned()));
            let old = conditions.iter_mut().find(|condition| condition.type_ == type_);
            let since = match &old {
                Some(old) if old.status == status => old.last_transition_time.clone(),
                _ => Some(Time(now)),
            };
            let new = NamespaceCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: since,
            };
            match old {
                Some(old) if *old == new => continue,
                Some(old) => *old = new,
                None => conditions.push(new),
            }
            changed = true;
        }
        changed
    }

    /// What is said of groups whose servers are away.
    pub(super) fn discovery(&self) -> Option<(&'static str, String)> {
        let stale =
            |version: &String| format!("{version}: stale GroupVersion discovery: {version}");
        let list = self.undiscovered.iter().map(stale).collect::<Vec<_>>().join(", ");
        let count = self.undiscovered.len();
        let message = format!(
            "Discovery failed for some groups, {count} failing: unable to retrieve the complete \
             list of server APIs: {list}"
        );
        (count > 0).then_some(("DiscoveryFailed", message))
    }

    fn failure(&self) -> Option<(&'static str, String)> {
        let mut errors = self.errors.clone();
        errors.sort();
        let list = errors.join(", ");
        let count = errors.len();
        let message = format!("Failed to delete all resource types, {count} remaining: {list}");
        (count > 0).then_some(("ContentDeletionFailed", message))
    }

    fn remaining(&self) -> Option<(&'static str, String)> {
        let list = list(&self.remaining, "has");
        let message = format!("Some resources are remaining: {list}");
        (!list.is_empty()).then_some(("SomeResourcesRemain", message))
    }

    fn finalizers(&self) -> Option<(&'static str, String)> {
        let list = list(&self.finalizers, "in");
        let message = format!("Some content in the namespace has finalizers remaining: {list}");
        (!list.is_empty()).then_some(("SomeFinalizersRemain", message))
    }
}

fn list(counts: &BTreeMap<String, usize>, verb: &str) -> String {
    let each =
        counts.iter().map(|(name, count)| format!("{name} {verb} {count} resource instances"));
    each.collect::<Vec<_>>().join(", ")
}
