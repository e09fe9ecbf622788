//! Kinds that other servers serve: known by what these say of themselves in discovery, so that clients
//! in the process find them where they find all kinds.

use std::borrow::Cow;
use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;

use crate::resource::CustomNames;
use crate::{Resource, ScaleTarget, Scope, Subresources, Verbs};

/// Most kinds that a version of a group may have. What is beyond is passed over.
const MOST: usize = 1000;

/// The kinds of a version of a group, as its server lists them. Entries that name no kind are passed
/// over.
pub fn kinds(group: &str, version: &str, listed: &[APIResource]) -> Vec<Resource> {
    let whole = listed.iter().filter(|one| !one.name.contains('/'));
    let named = whole.filter(|one| !one.name.is_empty() && !one.kind.is_empty());
    named.take(MOST).map(|one| kind(group, version, one, listed)).collect()
}

fn kind(group: &str, version: &str, one: &APIResource, listed: &[APIResource]) -> Resource {
    let texts = |texts: &Option<Vec<String>>| {
        texts.iter().flatten().cloned().map(Cow::Owned).collect::<Vec<Cow<'static, str>>>()
    };
    let singular = Some(&one.singular_name).filter(|name| !name.is_empty());
    let names = CustomNames {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: one.kind.clone(),
        list_kind: format!("{}List", one.kind),
        plural: one.name.clone(),
        singular: singular.cloned().unwrap_or_else(|| one.kind.to_lowercase()),
        short_names: texts(&one.short_names),
        categories: texts(&one.categories),
        scope: if one.namespaced { Scope::Namespaced } else { Scope::Cluster },
    };
    let has = |part: &str| {
        listed.iter().any(|other| {
            other.name.split_once('/').is_some_and(|(name, of)| name == one.name && of == part)
        })
    };
    let scale = if has("scale") { ScaleTarget::Replicas } else { ScaleTarget::None };
    let parts = Subresources { status: has("status"), scale, others: &[] };
    Resource::custom(names).parts(parts).verbs(verbs(&one.verbs)).elsewhere()
}

/// Every choice of verbs, by the bits of their places in [`Verbs::ALL`].
static CHOICES: LazyLock<Vec<Vec<&'static str>>> = LazyLock::new(|| {
    let all = Verbs::ALL.0;
    let chosen = |bits: usize| (0..all.len()).filter(move |at| bits & (1 << at) != 0);
    (0..1 << all.len()).map(|bits| chosen(bits).map(|at| all[at]).collect()).collect()
});

/// Those that are known of some verbs.
fn verbs(names: &[String]) -> Verbs {
    let all = Verbs::ALL.0.iter().enumerate();
    let listed = all.filter(|(_, verb)| names.iter().any(|name| name == *verb));
    let bits = listed.fold(0, |bits, (at, _)| bits | 1 << at);
    Verbs(&CHOICES[bits])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Catalog;

    fn flunders(verbs: &[&str]) -> Vec<Resource> {
        let listed = json!([
            {"name": "flunders", "singularName": "", "namespaced": true, "kind": "Flunder",
                "shortNames": ["fl"], "verbs": verbs},
            {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder",
                "verbs": ["get"]},
            {"name": "", "singularName": "", "namespaced": true, "kind": "Nothing", "verbs": []},
        ]);
        let listed: Vec<APIResource> = serde_json::from_value(listed).unwrap();
        kinds("wardle.example.com", "v1", &listed)
    }

    #[test]
    fn a_kind_is_what_its_server_says() {
        let [kind] = &flunders(&["watch", "list", "fly"])[..] else { panic!("one kind") };
        assert_eq!((&*kind.singular, kind.verbs.0), ("flunder", &["list", "watch"][..]));
        assert!(kind.is_elsewhere() && kind.subresources.status && !kind.is_computed());
    }

    #[test]
    fn kinds_come_change_and_go_with_their_server_and_leave_others_alone() {
        let catalog = Catalog::builtin();
        let before = catalog.all().len();
        let serve = |kinds| catalog.serve_elsewhere("wardle.example.com", "v1", kinds);
        serve(flunders(&["list"]));
        let generation = catalog.generation();
        serve(flunders(&["list"]));
        assert_eq!(catalog.generation(), generation, "nothing new");
        assert_eq!(&*catalog.resolve("fl").unwrap().kind, "Flunder");
        serve(flunders(&["get", "list"]));
        let found = catalog.by_name("flunders.wardle.example.com").unwrap();
        assert_eq!(found.verbs.0, ["get", "list"]);
        serve(Vec::new());
        assert!(catalog.by_name("flunders.wardle.example.com").is_none());
        let listed = json!([{"name": "pods", "singularName": "", "namespaced": true,
            "kind": "Pod", "verbs": ["get"]}]);
        let listed: Vec<APIResource> = serde_json::from_value(listed).unwrap();
        catalog.serve_elsewhere("", "v1", kinds("", "v1", &listed));
        assert!(!catalog.by_name("pods").unwrap().is_elsewhere(), "what is here stays here");
        catalog.serve_elsewhere("", "v1", Vec::new());
        assert_eq!(catalog.all().len(), before);
    }
}
