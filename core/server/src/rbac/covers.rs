use k8s_openapi::api::rbac::v1::PolicyRule;

use super::rule::url_covers;

/// The parts of `wanted` that `held` does not hold: rules of one verb and one thing each.
pub(super) fn missing(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let single = wanted.iter().flat_map(single);
    single.filter(|one| !held.iter().any(|rule| covers(rule, one))).collect()
}

/// A rule taken apart.
fn single(rule: &PolicyRule) -> Vec<PolicyRule> {
    let list = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
    let names: Vec<Option<Vec<String>>> = match &list(&rule.resource_names)[..] {
        [] => vec![None],
        names => names.iter().map(|name| Some(vec![name.clone()])).collect(),
    };
    let mut all = Vec::new();
    for group in list(&rule.api_groups) {
        for resource in list(&rule.resources) {
            for verb in &rule.verbs {
                all.extend(names.iter().map(|names| PolicyRule {
                    api_groups: Some(vec![group.clone()]),
                    resources: Some(vec![resource.clone()]),
                    verbs: vec![verb.clone()],
                    resource_names: names.clone(),
                    non_resource_urls: None,
                }));
            }
        }
    }
    for url in list(&rule.non_resource_urls) {
        all.extend(rule.verbs.iter().map(|verb| PolicyRule {
            non_resource_urls: Some(vec![url.clone()]),
            verbs: vec![verb.clone()],
            ..PolicyRule::default()
        }));
    }
    all
}

/// Whether a rule holds all of a rule of one verb and one thing.
fn covers(rule: &PolicyRule, one: &PolicyRule) -> bool {
    fn list(names: &Option<Vec<String>>) -> &[String] {
        names.as_deref().unwrap_or_default()
    }
    let within = |set: &[String], some: &[String]| {
        set.iter().any(|name| name == "*") || some.iter().all(|name| set.contains(name))
    };
    let resources = |set: &[String], some: &[String]| {
        within(set, some)
            || some.iter().all(|resource| {
                let part = resource.split_once('/').map(|(_, part)| format!("*/{part}"));
                set.contains(resource) || part.is_some_and(|part| set.contains(&part))
            })
    };
    let urls = list(&rule.non_resource_urls);
    let names = list(&rule.resource_names);
    let wanted_names = list(&one.resource_names);
    within(&rule.verbs, &one.verbs)
        && within(list(&rule.api_groups), list(&one.api_groups))
        && resources(list(&rule.resources), list(&one.resources))
        && list(&one.non_resource_urls)
            .iter()
            .all(|url| urls.iter().any(|rule| url_covers(rule, url)))
        && (names.is_empty()
            || (!wanted_names.is_empty() && wanted_names.iter().all(|name| names.contains(name))))
}

/// Rules as messages show them: verbs of the same thing together, ordered, a line each.
pub(super) fn describe(rules: &[PolicyRule]) -> String {
    let mut compact: Vec<PolicyRule> = Vec::new();
    for rule in rules {
        let same = |other: &&mut PolicyRule| {
            rule.non_resource_urls.is_none()
                && (&other.api_groups, &other.resources, &other.resource_names)
                    == (&rule.api_groups, &rule.resources, &rule.resource_names)
        };
        match compact.iter_mut().find(same) {
            Some(other) => {
                let new = rule.verbs.iter().filter(|verb| !other.verbs.contains(verb));
                let new: Vec<_> = new.cloned().collect();
                other.verbs.extend(new);
            }
            None => compact.push(rule.clone()),
        }
    }
    let mut lines: Vec<_> = compact.iter().map(line).collect();
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

fn line(rule: &PolicyRule) -> String {
    let verbs = Some(rule.verbs.clone());
    let fields = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &verbs),
    ];
    let given = fields.into_iter().filter_map(|(name, values)| {
        let values = values.as_deref().filter(|values| !values.is_empty())?;
        Some(format!("{name}:{}", quoted(values)))
    });
    format!("{{{}}}", given.collect::<Vec<_>>().join(", "))
}

/// Texts as Go's `%q` writes a list of them.
pub(super) fn quoted(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}
