use super::super::{Declared, Scope, Yields, compile, objects_of_mutations, variables_of_request};
use super::*;

#[derive(Debug)]
struct Spec;

impl<'a> Fields<'a> for Spec {
    fn name(&self) -> &str {
        "selfType"
    }

    fn field(&self, name: &str) -> Option<Ty<'a>> {
        Some(match name {
            "replicas" => Ty::Int,
            "name" => Ty::Text,
            "since" => Ty::Time,
            "any" => Ty::Dyn,
            "tags" => Ty::list(Ty::Text),
            "labels" => Ty::texts_to(Ty::Text),
            "inner" => Ty::object(Self),
            "parts" => Ty::list(Ty::object(Self)),
            _ => return None,
        })
    }
}

/// The type of an expression about a `self`, or what is wrong with it.
fn type_of(text: &str) -> String {
    let this = [Declared { name: "self", ty: Ty::object(Spec) }];
    let scope = Scope { variables: &this, composed: None, objects: Some(&objects_of_mutations) };
    match compile(text, scope, Yields::Anything) {
        Ok((_, ty)) => ty.to_string(),
        Err(why) => {
            let lines = why.lines().filter_map(|line| line.split_once("ERROR: <input>:"));
            lines.map(|(_, line)| line).collect::<Vec<_>>().join("; ")
        }
    }
}

#[track_caller]
fn all(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        assert_eq!(type_of(text), *expected, "{text}");
    }
}

#[test]
fn what_an_expression_yields_is_known() {
    all(&[
        ("self.replicas + 1", "int"),
        ("self.replicas > 1.5 || self.any == 3", "bool"),
        ("[self.name, 'x']", "list(string)"),
        ("[]", "list(dyn)"),
        ("{'a': self.replicas}", "map(string, int)"),
        ("self.inner.inner.tags[0]", "string"),
        ("self.labels.a", "string"),
        ("self.labels[?'a']", "optional_type(string)"),
        ("self.?inner.parts[0].?name", "optional_type(string)"),
        ("self.any.whatever.it[3].is", "dyn"),
        ("self.replicas > 1 ? 'a' : self.name", "string"),
        ("self.parts.map(p, p.replicas)", "list(int)"),
        ("self.parts.filter(p, p.replicas > 1)", "list(selfType)"),
        ("self.tags.all(t, t.startsWith('x')) && self.labels.exists(k, k == 'a')", "bool"),
        ("self.parts.map(p, p.tags.map(t, size(t)).sum())", "list(int)"),
        ("self.tags.transformMap(i, t, t.size())", "map(int, int)"),
        ("self.labels.transformMapEntry(k, v, {v: k})", "map(string, string)"),
        ("self.?name.optMap(n, n.size())", "optional_type(int)"),
        ("self.parts.sortBy(p, p.replicas)", "list(selfType)"),
        ("type(self.name) == string && type(self.tags) == list", "bool"),
        ("self.since + duration('1h') > timestamp('2020-01-01T00:00:00Z')", "bool"),
        ("quantity('1').add(2)", "kubernetes.Quantity"),
        ("ip('10.0.0.1')", "net.IP"),
        ("url('https://a').getQuery()", "map(string, list(string))"),
        ("self.tags.min() + self.tags.join(',')", "string"),
        ("'%s %d'.format([self.name, 3])", "string"),
        ("sets.contains(self.tags, ['a'])", "bool"),
        ("optional.none().orValue(1)", "int"),
        ("Object{spec: Object.spec{replicas: 3}}", "Object"),
        ("[JSONPatch{op: 'add', path: '/a', value: 1}]", "list(JSONPatch)"),
        ("self.any + self.name", "string"),
        ("self.any.map(x, x.y)", "list(dyn)"),
        ("dyn(self.name) == 1", "bool"),
        ("self.inner == null", "bool"),
    ]);
}

#[test]
fn what_does_not_fit_is_said_with_its_place() {
    all(&[
        ("self.foo", "1:5: undefined field 'foo'"),
        ("has(self.foo)", "1:4: undefined field 'foo'"),
        (
            "self.inner.foo > 1 || self.bar",
            "1:11: undefined field 'foo'; 1:27: undefined field 'bar'",
        ),
        ("self.name.foo", "1:10: type 'string' does not support field selection"),
        (
            "self.replicas > '1'",
            "1:15: found no matching overload for '_>_' applied to '(int, string)'",
        ),
        (
            "'wants ' + self.replicas",
            "1:10: found no matching overload for '_+_' applied to '(string, int)'",
        ),
        (
            "self.replicas.startsWith('x')",
            "1:25: found no matching overload for 'startsWith' applied to 'int.(string)'",
        ),
        ("size(3)", "1:5: found no matching overload for 'size' applied to '(int)'"),
        ("self.name && true", "1:5: expected type 'bool' but found 'string'"),
        ("self.tags.all(t, t)", "1:18: expected type 'bool' but found 'string'"),
        (
            "self.name.all(x, true)",
            "1:5: expression of type 'string' cannot be range of a comprehension (must be list, \
             map, or dynamic)",
        ),
        ("[1, 'a']", "1:5: expected type 'int' but found 'string'"),
        ("[self.any, 'a']", "1:12: expected type 'dyn' but found 'string'"),
        ("{'a': 1, 'b': 'c'}", "1:15: expected type 'int' but found 'string'"),
        ("1 == 'a'", "1:3: found no matching overload for '_==_' applied to '(int, string)'"),
        (
            "self.parts[0].foo\n  + self.bar",
            "1:14: undefined field 'foo'; 2:9: undefined field 'bar'",
        ),
        ("self.frobnicate()", "1:16: undeclared reference to 'frobnicate' (in container '')"),
        ("other.x", "1:1: undeclared reference to 'other' (in container '')"),
        ("Nothing{a: 1}", "1:8: undeclared reference to 'Nothing' (in container '')"),
        (
            "JSONPatch{op: 1}",
            "1:13: expected type of field 'op' is 'string' but provided type is 'int'",
        ),
        ("JSONPatch{ops: 'a'}", "1:14: undefined field 'ops'"),
        ("self.name.matches('(')", "1:19: invalid matches argument"),
        ("duration('1x') == duration('1s')", "1:10: invalid duration argument"),
        ("timestamp('x')", "1:11: invalid timestamp argument"),
        (
            "self.replicas.optMap(x, x)",
            "1:21: found no matching overload for 'hasValue' applied to 'int.()'",
        ),
    ]);
}

/// Types that would double with each step, or stand within each other without end.
#[test]
fn types_stay_small() {
    let doubled = format!("[1]{}", ".map(x, {x: x})".repeat(40));
    assert_eq!(type_of(&doubled).matches("map(").count(), 40);
    let deep = format!("[1]{}", ".map(x, [x])".repeat(90));
    assert!(type_of(&deep).len() < 600);
    let (mut open, mut said) = (String::new(), String::new());
    for level in 1..40 {
        open.push_str(&format!("[].exists(x{level}, "));
        let before = level - 1;
        said.push_str(&format!(" && x{before} == {{x{level}: x{level}}}"));
    }
    let text = format!("[].exists(x0, {open}true{said}{}", ")".repeat(40));
    assert_eq!(type_of(&text), "bool");
    let many = vec!["self.foo"; 5000].join(" && ");
    assert!(type_of(&many).len() < 10_000);
}

#[test]
fn requests_have_types() {
    let scope = |text: &str| {
        let variables = variables_of_request(true, true);
        let scope = Scope { variables: &variables, ..Scope::default() };
        let found = compile(text, scope, Yields::Bool).map(|_| ());
        found.map_err(|why| why.lines().next().unwrap_or_default().to_owned())
    };
    for right in [
        "request.userInfo.groups.exists(g, g == 'x') && request.kind.kind == 'Pod'",
        "namespaceObject.metadata.labels['a'] == 'b'",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "authorizer.requestResource.check('x').allowed() && authorizer.path('/x').check('get').allowed()",
        "object.spec.x == params.y",
    ] {
        assert_eq!(scope(right), Ok(()), "{right}");
    }
    for (wrong, why) in [
        ("request.foo == 1", "compilation failed: ERROR: <input>:1:8: undefined field 'foo'"),
        ("object.spec.enabled", "must evaluate to bool"),
        (
            "authorizer.check('x').allowed()",
            "compilation failed: ERROR: <input>:1:17: found no matching overload for 'check' \
             applied to 'kubernetes.authorization.Authorizer.(string)'",
        ),
    ] {
        assert_eq!(scope(wrong), Err(why.to_owned()), "{wrong}");
    }
}
