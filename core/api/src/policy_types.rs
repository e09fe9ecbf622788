//! What types say about a policy: a `ValidatingAdmissionPolicy` is accepted whatever the kinds are
//! that it is about, and what does not fit them is said in its status.

use k8s_openapi::api::admissionregistration::v1::{
    ExpressionWarning, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicySpec,
};

use crate::expressions::{
    Declared, Fields, Scope, Ty, escaped, type_of, unescaped, variables_of_request,
};
use crate::schema::{KindType, Scalar, Type, TypeRef};
use crate::{Catalog, Resource};

/// Most kinds of a rule that a policy is held against.
const KINDS_MAX: usize = 10;

/// What does not fit in the validations of a policy and in their messages, for the kinds that its
/// rules name without wildcards.
pub fn warnings(policy: &ValidatingAdmissionPolicy, catalog: &Catalog) -> Vec<ExpressionWarning> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let kinds = kinds_of(spec, catalog);
    let params = params_of(spec, catalog);
    let checks: Vec<Check<'_>> =
        kinds.iter().map(|kind| Check::of(kind, params.as_ref(), spec)).collect();
    let mut found = Vec::new();
    for (index, validation) in spec.validations.iter().flatten().enumerate() {
        let message = validation.message_expression.as_deref().filter(|text| !text.is_empty());
        let expressions =
            [("expression", Some(&*validation.expression)), ("messageExpression", message)];
        for (field, text) in expressions {
            let Some(text) = text else { continue };
            let each: Vec<String> = checks.iter().filter_map(|check| check.warning(text)).collect();
            if !each.is_empty() {
                found.push(ExpressionWarning {
                    field_ref: format!("spec.validations[{index}].{field}"),
                    warning: each.join("\n"),
                });
            }
        }
    }
    found
}

/// A kind that a policy is held against.
struct Known {
    group: String,
    version: String,
    kind: String,
    ty: KindType,
}

impl Known {
    fn of(resource: &Resource) -> Option<Self> {
        Some(Self {
            group: resource.group.to_string(),
            version: resource.version.to_string(),
            kind: resource.kind.to_string(),
            ty: resource.kind_type()?,
        })
    }

    fn ty(&self) -> Ty<'_> {
        typed(self.ty.get(), &self.kind)
    }
}

fn rules_of(
    spec: &ValidatingAdmissionPolicySpec,
) -> impl Iterator<Item = &NamedRuleWithOperations> {
    spec.match_constraints.iter().flat_map(|all| all.resource_rules.iter().flatten())
}

/// Groups, versions and resources of a rule, none where it has wildcards.
fn names_of(rule: &NamedRuleWithOperations) -> Vec<(&str, &str, &str)> {
    fn sorted(all: &Option<Vec<String>>) -> Vec<&str> {
        let mut all: Vec<&str> = all.iter().flatten().map(String::as_str).collect();
        all.sort_unstable();
        all
    }
    let (groups, versions) = (sorted(&rule.api_groups), sorted(&rule.api_versions));
    if groups.iter().chain(&versions).any(|name| name.contains('*')) {
        return Vec::new();
    }
    let mut resources = sorted(&rule.resources);
    resources.retain(|name| !name.contains(['*', '/']));
    let mut found = Vec::new();
    for group in &groups {
        for version in &versions {
            found.extend(resources.iter().map(|resource| (*group, *version, *resource)));
        }
    }
    found
}

fn kinds_of(spec: &ValidatingAdmissionPolicySpec, catalog: &Catalog) -> Vec<Known> {
    let mut found: Vec<Known> = Vec::new();
    for rule in rules_of(spec) {
        let named = names_of(rule).into_iter();
        let resources = named.filter_map(|(group, version, resource)| {
            catalog.by_path(group, version, resource).and_then(|found| Known::of(&found))
        });
        let of_rule: Vec<Known> = resources.take(KINDS_MAX).collect();
        let is_full = of_rule.len() == KINDS_MAX;
        found.extend(of_rule);
        if is_full {
            break;
        }
    }
    let key = |kind: &Known| (kind.group.clone(), kind.version.clone(), kind.kind.clone());
    found.sort_by_key(key);
    found.dedup_by_key(|kind| key(kind));
    found
}

fn params_of(spec: &ValidatingAdmissionPolicySpec, catalog: &Catalog) -> Option<Known> {
    let kind = spec.param_kind.as_ref()?;
    let found = catalog.by_kind(kind.api_version.as_deref()?, kind.kind.as_deref()?);
    Known::of(&*found.ok()?)
}

/// What the expressions of a policy may refer to where it is about one kind.
struct Check<'a> {
    kind: &'a Known,
    variables: Vec<Declared<'a, 'a>>,
    composed: Vec<Declared<'a, 'a>>,
}

impl<'a> Check<'a> {
    fn of(
        kind: &'a Known,
        params: Option<&'a Known>,
        spec: &'a ValidatingAdmissionPolicySpec,
    ) -> Self {
        let mut variables = variables_of_request(params.is_some(), true);
        for variable in &mut variables {
            match (variable.name, params) {
                ("object" | "oldObject", _) => variable.ty = kind.ty(),
                ("params", Some(params)) => variable.ty = params.ty(),
                _ => {}
            }
        }
        let mut check = Self { kind, variables, composed: Vec::new() };
        for variable in spec.variables.iter().flatten() {
            let ty = type_of(&variable.expression, check.scope());
            let ty = ty.map_or(Ty::Dyn, |ty| ty.of_variable());
            check.composed.push(Declared { name: &variable.name, ty });
        }
        check
    }

    fn scope(&self) -> Scope<'_, 'a> {
        Scope { variables: &self.variables, composed: Some(&self.composed), objects: None }
    }

    fn warning(&self, text: &str) -> Option<String> {
        let why = type_of(text, self.scope()).err()?;
        let Known { group, version, kind, .. } = self.kind;
        Some(format!("{group}/{version}, Kind={kind}: {why}\n"))
    }
}

/// A type of the API as one of expressions.
fn typed<'a>(ty: TypeRef<'a>, name: &str) -> Ty<'a> {
    match ty.shape() {
        Type::Any | Type::Opaque => Ty::Dyn,
        Type::Scalar(scalar) => match scalar {
            Scalar::String => Ty::Text,
            Scalar::Integer => Ty::Int,
            Scalar::Number => Ty::Double,
            Scalar::Boolean => Ty::Bool,
            Scalar::Bytes => Ty::Bytes,
            Scalar::Time => Ty::Time,
            Scalar::Quantity | Scalar::IntOrString => Ty::Dyn,
        },
        Type::List(_) => {
            Ty::list(ty.item().map_or(Ty::Dyn, |item| typed(item, &format!("{name}.@idx"))))
        }
        // Any name will do where there are no fields: it is a key.
        Type::Object(object) => match ty.field("\0") {
            Some(values) if object.fields().is_empty() => {
                Ty::texts_to(typed(values, &format!("{name}.@elem")))
            }
            _ => Ty::object(Object { ty, name: name.to_owned() }),
        },
    }
}

struct Object<'a> {
    ty: TypeRef<'a>,
    name: String,
}

impl std::fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl<'a> Fields<'a> for Object<'a> {
    fn name(&self) -> &str {
        &self.name
    }

    /// Names that mean something in CEL may stand as they are, as objects that are evaluated have
    /// them, and as types have them.
    fn field(&self, name: &str) -> Option<Ty<'a>> {
        let property = unescaped(name);
        let as_written = Some(name).filter(|name| self.ty.declared(name).is_some());
        let meant = || Some(&*property).filter(|property| escaped(property) == name);
        let found = self.ty.field(as_written.or_else(meant)?)?;
        Some(typed(found, &format!("{}.{name}", self.name)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn warned(spec: Value) -> Vec<(String, String)> {
        let policy = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec}));
        let found = warnings(&policy.unwrap(), &Catalog::builtin());
        found.into_iter().map(|one| (one.field_ref, one.warning)).collect()
    }

    fn about(group: &str, resources: &[&str], more: Value) -> Value {
        let rule = json!({"apiGroups": [group], "apiVersions": ["v1"], "operations": ["*"],
            "resources": resources});
        let mut spec = json!({"matchConstraints": {"resourceRules": [rule]}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    }

    fn rule(text: &str) -> Value {
        json!({"validations": [{"expression": text}]})
    }

    #[test]
    fn what_fits_the_kinds_is_not_warned_of() {
        for (group, resource, text) in [
            ("apps", "deployments", "object.spec.replicas > 1"),
            ("apps", "deployments", "object.spec.template.spec.containers.all(c, c.image != '')"),
            ("apps", "deployments", "object.metadata.namespace == object.metadata.__namespace__"),
            ("apps", "deployments", "object.spec.foo.bar == oldObject.spec.foo && false"),
            ("", "configmaps", "object.data['a'].size() > 3 && 'a' in object.binaryData"),
            ("", "pods", "object.spec.containers[0].resources.limits['cpu'] == '1'"),
            ("", "pods", "object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')"),
            ("", "services", "object.spec.ports.all(p, p.targetPort == 80 || p.targetPort == 'x')"),
            ("nowhere", "things", "object.whatever > 'x'"),
            ("apps", "*", "object.spec.nothing == 1"),
            ("apps", "deployments/scale", "object.spec.nothing == 1"),
        ] {
            let found = warned(about(group, &[resource], rule(text)));
            let expected = usize::from(text.contains("foo"));
            assert_eq!(found.len(), expected, "{resource} {text}: {found:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_warned_of_kind_by_kind() {
        let spec = json!({"validations": [{
            "expression": "object.spec.replicas > '1'",
            "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas",
        }]});
        let found = warned(about("apps", &["deployments"], spec));
        assert_eq!(
            found,
            [
                (
                    "spec.validations[0].expression".to_owned(),
                    "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for \
                     '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'\n | \
                     .....................^\n"
                        .to_owned()
                ),
                (
                    "spec.validations[0].messageExpression".to_owned(),
                    "apps/v1, Kind=Deployment: ERROR: <input>:1:28: found no matching overload for \
                     '_+_' applied to '(string, int)'\n | 'wants replicas > 1, got ' + \
                     object.spec.replicas\n | ...........................^\n"
                        .to_owned()
                ),
            ]
        );
        let found = warned(about("apps", &["replicasets", "deployments"], rule("object.foo == 1")));
        let [(_, warning)] = &found[..] else { panic!("{found:?}") };
        let lines: Vec<_> = warning.lines().filter(|line| line.contains("ERROR")).collect();
        assert_eq!(
            lines,
            [
                "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'foo'",
                "apps/v1, Kind=ReplicaSet: ERROR: <input>:1:7: undefined field 'foo'",
            ]
        );
        let found = warned(about("", &["pods"], rule("object.spec.replicas == 1")));
        assert!(found[0].1.starts_with("/v1, Kind=Pod: ERROR: <input>:1:12: "), "{found:?}");
    }

    #[test]
    fn parameters_and_variables_have_types() {
        let spec = |text: &str, kind: &str| {
            about(
                "",
                &["pods"],
                json!({
                    "paramKind": {"apiVersion": "v1", "kind": kind},
                    "variables": [
                        {"name": "names", "expression": "object.spec.containers.map(c, c.name)"},
                        {"name": "few", "expression": "variables.names.size()"},
                    ],
                    "validations": [{"expression": text}],
                }),
            )
        };
        assert_eq!(warned(spec("params.data.a == variables.names[0]", "ConfigMap")), []);
        for (text, kind, why) in [
            ("params.dota.a == ''", "ConfigMap", "1:7: undefined field 'dota'"),
            ("params.data.a == ''", "Nothing", "1:1: undeclared reference to 'params'"),
            ("variables.few == 'a'", "ConfigMap", "1:15: found no matching overload for '_==_'"),
            ("variables.more == 1", "ConfigMap", "1:10: undefined field 'more'"),
        ] {
            let found = warned(spec(text, kind));
            assert!(found.len() == 1 && found[0].1.contains(why), "{text}: {found:?}");
        }
    }
}
