use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef,
    Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use pinnace_api::{Key, Kind, Result};
use pinnace_client::{Api, Client, DeleteOptions};

use super::GROUP;
use super::covers::missing;

/// Set to `false` on what is to be left as it is.
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const BOOTSTRAPPING: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
/// How often a write is tried anew when others write the same object.
const ATTEMPTS: usize = 8;

/// The default roles and bindings.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) cluster_roles: Vec<ClusterRole>,
    pub(super) cluster_role_bindings: Vec<ClusterRoleBinding>,
    pub(super) roles: Vec<Role>,
    pub(super) role_bindings: Vec<RoleBinding>,
}

/// Makes the default roles and bindings, and gives those that are there what they lack: rules,
/// labels and subjects. What somebody has added stays, and so does all of an object that says it
/// is not to be updated. Where the API serves no roles, there is nothing to do.
///
/// # Errors
/// What the API says.
pub async fn bootstrap(client: &Client) -> Result<()> {
    if client.catalog().of::<ClusterRole>().is_err() {
        return Ok(());
    }
    let defaults = Defaults::read();
    each(client, defaults.cluster_roles).await?;
    each(client, defaults.cluster_role_bindings).await?;
    each(client, defaults.roles).await?;
    each(client, defaults.role_bindings).await
}

async fn each<K: Wanted>(client: &Client, wanted: Vec<K>) -> Result<()> {
    let api = client.of::<K>()?;
    for object in wanted {
        reconcile(&api, object).await?;
    }
    Ok(())
}

async fn reconcile<K: Wanted>(api: &Api<K>, wanted: K) -> Result<()> {
    let key = key_of(wanted.meta());
    for attempt in 1.. {
        let written = match api.find(&key).await? {
            None => api.create(wanted.clone()).await.map(drop),
            Some(found) => {
                let mut object = K::clone(&found);
                let kept = object.meta().annotations.as_ref().and_then(|all| all.get(AUTO_UPDATE));
                if kept.is_some_and(|value| value == "false") {
                    return Ok(());
                }
                if !object.same_role(&wanted) {
                    // What a binding refers to cannot be changed, only made anew.
                    api.delete(&key, DeleteOptions::default()).await?;
                    continue;
                }
                let before = object.clone();
                object.add(&wanted);
                extend(&mut object.meta_mut().labels, &wanted.meta().labels);
                extend(&mut object.meta_mut().annotations, &wanted.meta().annotations);
                if object == before {
                    return Ok(());
                }
                api.update(object).await.map(drop)
            }
        };
        match written {
            Err(error)
                if attempt < ATTEMPTS && (error.is_conflict() || error.is_already_exists()) => {}
            written => return written,
        }
    }
    Ok(())
}

fn key_of(meta: &ObjectMeta) -> Key {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Key::new(text(&meta.namespace), text(&meta.name))
}

type Names = Option<BTreeMap<String, String>>;

fn extend(names: &mut Names, wanted: &Names) {
    for (name, value) in wanted.iter().flatten() {
        let names = names.get_or_insert_default();
        names.entry(name.clone()).or_insert_with(|| value.clone());
    }
}

/// What is particular to one of the four kinds.
trait Wanted: Kind + k8s_openapi::Resource {
    /// Adds what this lacks.
    fn add(&mut self, wanted: &Self);

    /// Whether both give the same role.
    fn same_role(&self, _other: &Self) -> bool {
        true
    }
}

fn add_rules(rules: &mut Option<Vec<PolicyRule>>, wanted: &Option<Vec<PolicyRule>>) {
    let held = rules.get_or_insert_default();
    let missing = missing(held, wanted.as_deref().unwrap_or_default());
    held.extend(missing);
    if held.is_empty() {
        *rules = None;
    }
}

fn add_subjects(subjects: &mut Option<Vec<Subject>>, wanted: &Option<Vec<Subject>>) {
    for subject in wanted.iter().flatten() {
        let subjects = subjects.get_or_insert_default();
        if !subjects.contains(subject) {
            subjects.push(subject.clone());
        }
    }
}

impl Wanted for ClusterRole {
    fn add(&mut self, wanted: &Self) {
        if let Some(rule) = &wanted.aggregation_rule {
            let own = self.aggregation_rule.get_or_insert_default();
            let selectors = own.cluster_role_selectors.get_or_insert_default();
            for selector in rule.cluster_role_selectors.iter().flatten() {
                if !selectors.contains(selector) {
                    selectors.push(selector.clone());
                }
            }
        } else {
            add_rules(&mut self.rules, &wanted.rules);
        }
    }
}

impl Wanted for Role {
    fn add(&mut self, wanted: &Self) {
        add_rules(&mut self.rules, &wanted.rules);
    }
}

impl Wanted for ClusterRoleBinding {
    fn add(&mut self, wanted: &Self) {
        add_subjects(&mut self.subjects, &wanted.subjects);
    }

    fn same_role(&self, other: &Self) -> bool {
        self.role_ref == other.role_ref
    }
}

impl Wanted for RoleBinding {
    fn add(&mut self, wanted: &Self) {
        add_subjects(&mut self.subjects, &wanted.subjects);
    }

    fn same_role(&self, other: &Self) -> bool {
        self.role_ref == other.role_ref
    }
}

impl Defaults {
    /// Reads the table of defaults. A line at the margin begins a role: `role NAME`, `controller
    /// NAME` for the role of a controller and its service account, or `in NAMESPACE NAME`; behind
    /// it, who has the role, `from=` what it gathers and `to=` what gathers it. Each line below is
    /// a rule: verbs, groups (`-` for the core group), resources and names, or verbs, `/` and paths.
    /// `R`, `W` and `RW` stand for the verbs that read, write, and both.
    pub(super) fn read() -> Self {
        let mut defaults = Self::default();
        let mut lines = include_str!("bootstrap.txt").lines().peekable();
        while let Some(line) = lines.next() {
            let mut rules = Vec::new();
            while let Some(rule) = lines.next_if(|line| line.starts_with(' ')) {
                rules.push(rule_of(rule.trim_start()));
            }
            defaults.add(&line.split(' ').collect::<Vec<_>>(), rules);
        }
        defaults
    }

    fn add(&mut self, words: &[&str], rules: Vec<PolicyRule>) {
        match *words {
            ["in", namespace, name, ref words @ ..] => {
                let rules = Some(rules);
                self.roles.push(Role { metadata: meta(name, Some(namespace)), rules });
                let binding = word(words, "binding").unwrap_or(name);
                self.role_bindings.push(RoleBinding {
                    metadata: meta(binding, Some(namespace)),
                    role_ref: reference("Role", name),
                    subjects: subjects(words),
                });
            }
            ["controller", name] => {
                let account = format!("sas=kube-system/{name}");
                let name = format!("system:controller:{name}");
                self.add(&["role", &name, &account], rules);
            }
            ["role", name, ref words @ ..] => self.add_cluster_role(name, words, rules),
            _ => {}
        }
    }

    fn add_cluster_role(&mut self, name: &str, words: &[&str], rules: Vec<PolicyRule>) {
        let label = |to: &str| (format!("{GROUP}/aggregate-to-{to}"), "true".to_owned());
        let mut metadata = meta(name, None);
        metadata.labels.get_or_insert_default().extend(word(words, "to").map(label));
        let from = word(words, "from").map(|from| LabelSelector {
            match_labels: Some([label(from)].into()),
            match_expressions: None,
        });
        self.cluster_roles.push(ClusterRole {
            metadata,
            rules: (!rules.is_empty()).then_some(rules),
            aggregation_rule: from
                .map(|from| AggregationRule { cluster_role_selectors: Some(vec![from]) }),
        });
        // The role of nodes is bound to nobody: nodes are allowed what they may by other means.
        let subjects = subjects(words);
        if subjects.is_some() || words.contains(&"unbound") {
            self.cluster_role_bindings.push(ClusterRoleBinding {
                metadata: meta(name, None),
                role_ref: reference("ClusterRole", name),
                subjects,
            });
        }
    }
}

fn meta(name: &str, namespace: Option<&str>) -> ObjectMeta {
    let (label, value) = BOOTSTRAPPING;
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some([(label.to_owned(), value.to_owned())].into()),
        annotations: Some([(AUTO_UPDATE.to_owned(), "true".to_owned())].into()),
        ..ObjectMeta::default()
    }
}

fn reference(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: Some(GROUP.to_owned()), kind: kind.to_owned(), name: name.to_owned() }
}

fn word<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn subjects(words: &[&str]) -> Option<Vec<Subject>> {
    let mut all = Vec::new();
    for (word_name, kind) in [("users", "User"), ("groups", "Group")] {
        let names = word(words, word_name).into_iter().flat_map(|names| names.split(','));
        all.extend(names.map(|name| Subject {
            api_group: Some(GROUP.to_owned()),
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: None,
        }));
    }
    let accounts = word(words, "sas").into_iter().flat_map(|names| names.split(','));
    all.extend(accounts.filter_map(|account| account.split_once('/')).map(|(namespace, name)| {
        Subject {
            api_group: None,
            kind: "ServiceAccount".to_owned(),
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
        }
    }));
    (!all.is_empty()).then_some(all)
}

fn rule_of(line: &str) -> PolicyRule {
    let line = if line == "@events" { "create,patch,update -,events.k8s.io events" } else { line };
    let mut fields = line.split(' ');
    let mut list = || {
        let field = fields.next()?;
        Some(field.split(',').map(str::to_owned).collect::<Vec<_>>())
    };
    let verbs = match list().unwrap_or_default() {
        verbs if verbs == ["R"] => words("get,list,watch"),
        verbs if verbs == ["W"] => words("create,delete,deletecollection,patch,update"),
        verbs if verbs == ["RW"] => {
            words("create,delete,deletecollection,get,list,patch,update,watch")
        }
        verbs => verbs,
    };
    let groups = list().unwrap_or_default();
    if groups == ["/"] {
        return PolicyRule { verbs, non_resource_urls: list(), ..PolicyRule::default() };
    }
    let core = |group: String| if group == "-" { String::new() } else { group };
    PolicyRule {
        verbs,
        api_groups: Some(groups.into_iter().map(core).collect()),
        resources: list(),
        resource_names: list(),
        non_resource_urls: None,
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}
