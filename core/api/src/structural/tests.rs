use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Value, json};

use super::*;
use crate::field::{ErrorList, Path};

fn node(schema: Value) -> Node {
    Node::of(&serde_json::from_value::<JSONSchemaProps>(schema).unwrap())
}

#[track_caller]
fn check(schema: Value, value: Value, expected: &[&str]) {
    let mut errors = ErrorList::default();
    node(schema).check(&value, None, &Path::root("a"), &mut errors);
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn values_are_held_against_every_word_of_a_schema() {
    let text = |more: Value| {
        let mut schema = json!({"type": "string"});
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    check(
        text(json!({"maxLength": 2})),
        json!("abc"),
        &["a: Too long: may not be more than 2 bytes"],
    );
    let short = "a: Invalid value: \"\": a in body should be at least 1 chars long";
    check(text(json!({"minLength": 1})), json!(""), &[short]);
    let odd = "a: Invalid value: \"x\": a in body should match '^[0-9]$'";
    check(text(json!({"pattern": "^[0-9]$"})), json!("x"), &[odd]);
    let kind = "a: Unsupported value: \"x\": supported values: \"y\", \"z\"";
    check(text(json!({"enum": ["y", "z"]})), json!("x"), &[kind]);
    let time = "a: Invalid value: \"x\": a in body must be of type date-time: \"x\"";
    check(text(json!({"format": "date-time"})), json!("x"), &[time]);
    check(text(json!({"format": "date-time"})), json!("2020-01-01T00:00:00Z"), &[]);
    let even = "a: Invalid value: 3: a in body should be a multiple of 2";
    check(json!({"type": "integer", "multipleOf": 2}), json!(3), &[even]);
    check(json!({"type": "integer"}), json!(3.0), &[]);
    let many = "a: Too many: 2: must have at most 1 item";
    check(json!({"type": "array", "maxItems": 1}), json!([1, 2]), &[many]);
    let set =
        json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}});
    check(set, json!([1, 2, 1]), &["a[2]: Duplicate value: 1"]);
    let one = json!({"oneOf": [{"required": ["x"]}, {"required": ["y"]}], "type": "object"});
    let none = "a: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found none valid";
    check(one.clone(), json!({}), &[none]);
    check(one, json!({"x": 1}), &[]);
    check(json!({"x-kubernetes-int-or-string": true}), json!("5%"), &[]);
    check(json!({"type": "object", "nullable": true}), Value::Null, &[]);
    let values = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let wrong =
        "a[k.x]: Invalid value: \"integer\": a[k.x] in body must be of type string: \"integer\"";
    check(values, json!({"k.x": 1}), &[wrong]);
}

#[test]
fn formats_are_those_of_upstream() {
    for (format, good, bad) in [
        ("date", "2020-02-29", "2021-02-29"),
        ("duration", "1h30m", "1x"),
        ("email", "a@b.c", "a b"),
        ("ipv4", "10.0.0.1", "::1"),
        ("ipv6", "::1", "10.0.0.1"),
        ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
        ("mac", "00:11:22:33:44:55", "00:11"),
        ("uri", "https://a.b/c", "a b"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
        ("byte", "YQ==", "a"),
        ("hostname", "a.example", "-a"),
    ] {
        assert!(formats::fits(format, good), "{format} {good}");
        assert!(!formats::fits(format, bad), "{format} {bad}");
    }
    assert!(formats::fits("whatever", "x") && !formats::holds("int32", &json!(1_u64 << 40)));
}

#[test]
fn unknown_fields_go_unless_the_schema_keeps_them() {
    let schema = node(json!({"type": "object", "properties": {
        "known": {"type": "object", "properties": {"x": {"type": "string"}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                 "properties": {"x": {"type": "object"}}},
        "map": {"type": "object", "additionalProperties": {"type": "object"}},
        "any": {"type": "object", "additionalProperties": true},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
    }}));
    let mut value = json!({
        "known": {"x": "1", "y": 2}, "open": {"x": {"gone": 1}, "kept": {"deep": 1}},
        "map": {"k": {"gone": 1}}, "any": {"k": {"kept": 1}}, "other": 1,
        "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "odd": 1},
    });
    schema.prune_root(value.as_object_mut().unwrap());
    let expected = json!({
        "known": {"x": "1"}, "open": {"x": {}, "kept": {"deep": 1}}, "map": {"k": {}},
        "any": {"k": {"kept": 1}}, "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
    });
    assert_eq!(value, expected);
}

#[test]
fn defaults_are_filled_in_deeply_and_in_place_of_nulls() {
    let schema = node(json!({"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "TCP"}}}},
        "inner": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 1}}},
        "null": {"type": "string", "nullable": true, "default": "x"},
    }}));
    let mut value = json!({"list": [{}, {"p": null}], "null": null});
    let fields = value.as_object_mut().unwrap();
    assert!(schema.lacks_defaults(fields));
    schema.default_root(fields);
    assert!(!schema.lacks_defaults(fields));
    assert_eq!(
        value,
        json!({"list": [{"p": "TCP"}, {"p": "TCP"}], "null": null, "inner": {"n": 1}})
    );
}

mod rules {
    use super::super::About;
    use super::*;
    use crate::DynamicObject;

    fn schema() -> Node {
        node(json!({"type": "object",
        "x-kubernetes-validations": [
            {"rule": "self.metadata.name.startsWith(self.spec.kind)", "message": "bad name"},
        ],
        "properties": {"spec": {"type": "object",
            "x-kubernetes-validations": [
                {"rule": "self.min <= self.max",
                 "messageExpression": "'%d is more than %d'.format([self.min, self.max])"},
                {"rule": "!has(self.owner) || self.owner != ''", "fieldPath": ".owner",
                 "reason": "FieldValueRequired"},
                {"rule": "oldSelf.max <= self.max", "message": "max may not shrink"},
                {"rule": "!oldSelf.hasValue() || self.kind == oldSelf.value().kind",
                 "optionalOldSelf": true, "message": "kind is immutable"},
            ],
            "properties": {
                "min": {"type": "integer"}, "max": {"type": "integer"},
                "kind": {"type": "string"}, "owner": {"type": "string"},
                "my-list": {"type": "array", "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object",
                        "x-kubernetes-validations": [
                            {"rule": "self.size >= oldSelf.size", "message": "it grows"},
                        ],
                        "properties": {"name": {"type": "string"},
                            "size": {"type": "integer",
                                "x-kubernetes-validations": [{"rule": "self % 2 == 0"}]}}}},
                "when": {"type": "string", "format": "date-time",
                    "x-kubernetes-validations": [{"rule": "self.getFullYear() > 2000"}]},
                "any": {"x-kubernetes-int-or-string": true,
                    "x-kubernetes-validations": [{"rule": "self.size() > 0"}]},
                "boom": {"type": "array", "items": {"type": "integer"},
                    "x-kubernetes-validations": [
                        {"rule": "self.all(x, self.all(y, x * y >= 0))"}]},
            }}}}))
    }

    fn object(spec: Value) -> DynamicObject {
        let value = json!({"apiVersion": "a/v1", "kind": "A",
            "metadata": {"name": "web-1"}, "spec": spec});
        serde_json::from_value(value).unwrap()
    }

    fn spec(more: Value) -> Value {
        let mut spec = json!({"min": 1, "max": 2, "kind": "web"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    }

    #[track_caller]
    fn check(old: Option<Value>, new: Value, about: About, expected: &[&str]) {
        let mut errors = ErrorList::default();
        let old = old.map(|old| object(spec(old)));
        schema().check_rules(&object(spec(new)), old.as_ref(), about, &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rules_hold_for_new_objects() {
        let check = |new, expected: &[&str]| check(None, new, About::Changed, expected);
        check(json!({}), &[]);
        check(json!({"kind": "db"}), &["<nil>: Invalid value: bad name"]);
        check(json!({"min": 3}), &["spec: Invalid value: 3 is more than 2"]);
        check(
            json!({"owner": ""}),
            &["spec.owner: Required value: failed rule: !has(self.owner) || self.owner != ''"],
        );
        let odd = "spec.my-list[0].size: Invalid value: 3: failed rule: self % 2 == 0";
        check(json!({"my-list": [{"name": "a", "size": 3}]}), &[odd]);
        let old = "spec.when: Invalid value: \"1999-01-01T00:00:00Z\": failed rule: \
                   self.getFullYear() > 2000";
        check(json!({"when": "1999-01-01T00:00:00Z"}), &[old]);
        let mismatch = "spec.any: Invalid value: \"\": 'no such overload': call arguments did not \
                        match a supported operator, function or macro signature for rule: \
                        self.size() > 0";
        check(json!({"any": 3}), &[mismatch]);
        let boom = "spec.boom: Invalid value: \"array\": 'operation cancelled: actual cost limit \
                    exceeded': no further validation rules will be run due to call cost exceeds \
                    limit for rule: self.all(x, self.all(y, x * y >= 0))";
        check(json!({"boom": vec![1; 2000]}), &[boom]);
    }

    #[test]
    fn rules_look_at_what_was_before() {
        let changed = |old, new, expected: &[&str]| check(Some(old), new, About::Changed, expected);
        changed(json!({}), json!({"max": 1}), &["spec: Invalid value: max may not shrink"]);
        let kinds = ["<nil>: Invalid value: bad name", "spec: Invalid value: kind is immutable"];
        changed(json!({}), json!({"kind": "db"}), &kinds);
        let list =
            |size: i32| json!({"my-list": [{"name": "b", "size": 2}, {"name": "a", "size": size}]});
        let other = json!({"my-list": [{"name": "a", "size": 4}]});
        changed(other, list(2), &["spec.my-list[1]: Invalid value: it grows"]);
        // What was wrong before and is as it was is only mentioned.
        let wrong = json!({"my-list": [{"name": "a", "size": 3}]});
        let more = json!({"owner": "x", "my-list": [{"name": "a", "size": 3}]});
        changed(wrong.clone(), more.clone(), &[]);
        let odd = "spec.my-list[0].size: Invalid value: 3: failed rule: self % 2 == 0";
        check(Some(wrong), more, About::Unchanged, &[odd]);
    }
}
