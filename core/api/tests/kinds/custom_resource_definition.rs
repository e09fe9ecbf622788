//! CustomResourceDefinitions.

use serde_json::{Value, json};

use crate::support::{check, check_update, defaulted, resource, with};

const NAME: &str = "customresourcedefinitions.apiextensions.k8s.io";

fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// A schema of an object with a `spec`.
fn of_spec(spec: Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

fn plain() -> Value {
    of_spec(json!({"type": "object", "properties": {"size": {"type": "integer"}}}))
}

#[test]
fn names_versions_and_conversion_are_filled_in() {
    let value = defaulted(NAME, definition(plain())).to_value().unwrap();
    assert_eq!(value["spec"]["names"]["singular"], "widget");
    assert_eq!(value["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(value["spec"]["conversion"]["strategy"], "None");
    assert_eq!(value["status"]["storedVersions"], json!(["v1"]));
}

#[test]
fn schemas_are_nested_so_deep_and_no_deeper() {
    let nested = |levels: usize| {
        let inner = json!({"type": "string"});
        (1..levels).fold(inner, |inner, _| json!({"type": "object", "properties": {"a": inner}}))
    };
    check(NAME, definition(nested(56)), &[]);
    let why = "schemas may not be nested more than 56 levels deep";
    let at = "spec.validation.openAPIV3Schema: Forbidden";
    check(NAME, definition(nested(57)), &[&format!("{at}: {why}")]);
}

#[test]
fn definitions_are_checked() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("/spec/scope", json!("Namespaced"), &[]),
        (
            "/metadata/name",
            json!("widgets"),
            &[
                "metadata.name: Invalid value: \"widgets\": must be spec.names.plural+\".\"+spec.group",
            ],
        ),
        (
            "/spec/scope",
            json!("World"),
            &[
                "spec.scope: Unsupported value: \"World\": supported values: \"Cluster\", \"Namespaced\"",
            ],
        ),
        (
            "/spec/names/listKind",
            json!("Widget"),
            &[
                "spec.names.listKind: Invalid value: \"Widget\": kind and listKind may not be the same",
            ],
        ),
        (
            "/spec/versions/0/schema",
            Value::Null,
            &["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
        ),
        (
            "/spec/versions/0/deprecationWarning",
            json!("old"),
            &[
                "spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions",
            ],
        ),
        (
            "/spec/versions/0/subresources",
            json!({"scale": {"specReplicasPath": ".replicas", "statusReplicasPath": "status"}}),
            &[
                "spec.subresources.scale.specReplicasPath: Invalid value: \".replicas\": should be a json path under .spec",
                "spec.subresources.scale.statusReplicasPath: Invalid value: \"status\": must be a simple json path starting with .",
            ],
        ),
        (
            "/spec/versions/0/additionalPrinterColumns",
            json!([{"name": "Size", "type": "size", "jsonPath": "spec.size"}]),
            &[
                "spec.additionalPrinterColumns[0].type: Invalid value: \"size\": must be one of boolean,date,integer,number,string",
                "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec.size\": must be a simple json path starting with .",
            ],
        ),
        (
            "/spec/versions/0/selectableFields",
            json!([{"jsonPath": ".spec.size"}, {"jsonPath": ".spec.color"}, {"jsonPath": ".spec"}]),
            &[
                "spec.selectableFields[1].jsonPath: Invalid value: \".spec.color\": is an invalid path: does not refer to a valid field",
                "spec.selectableFields[2].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            ],
        ),
        (
            "/spec/conversion",
            json!({"strategy": "Webhook"}),
            &[
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ],
        ),
        (
            "/spec/preserveUnknownFields",
            json!(true),
            &[
                "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
            ],
        ),
    ];
    for (pointer, value, expected) in cases {
        check(NAME, with(definition(plain()), pointer, value.clone()), expected);
    }
    let two = with(definition(plain()), "/spec/versions/0/storage", json!(false));
    let mut draft = defaulted(NAME, two);
    resource(NAME).strategy.prepare_for_create(&mut draft);
    let mut errors = pinnace_api::field::ErrorList::default();
    resource(NAME).strategy.validate(&draft, &mut errors);
    let texts = crate::support::texts(&errors).join("\n");
    assert!(texts.contains("must have exactly one version marked as storage version"), "{texts}");
    assert!(
        texts.contains(
            "status.storedVersions: Invalid value: []: must have at least one stored version"
        ),
        "{texts}"
    );
}

#[test]
fn groups_of_the_community_need_its_approval() {
    let value = with(definition(plain()), "/spec/group", json!("widgets.k8s.io"));
    let value = with(value, "/metadata/name", json!("widgets.widgets.k8s.io"));
    check(
        NAME,
        value.clone(),
        &[
            "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ],
    );
    for (given, fits) in
        [("unapproved, a test", true), ("https://example.com/1", true), ("yes", false)]
    {
        let annotated = with(
            value.clone(),
            "/metadata/annotations",
            json!({"api-approved.kubernetes.io": given}),
        );
        let mut errors = pinnace_api::field::ErrorList::default();
        let mut draft = defaulted(NAME, annotated);
        resource(NAME).strategy.prepare_for_create(&mut draft);
        resource(NAME).strategy.validate(&draft, &mut errors);
        assert_eq!(errors.is_empty(), fits, "{given}");
    }
}

#[test]
fn schemas_must_be_structural() {
    let at = "spec.validation.openAPIV3Schema";
    let cases: &[(Value, &[&str])] = &[
        (json!({}), &[".type: Required value: must not be empty at the root"]),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            &[".type: Invalid value: \"array\": must be object at the root"],
        ),
        (
            of_spec(json!({"properties": {"a": {"type": "string"}}})),
            &[
                ".properties[spec].type: Required value: must not be empty for specified object fields",
            ],
        ),
        (
            of_spec(json!({"type": "array"})),
            &[".properties[spec].items: Required value: must be specified"],
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"spec": {"minimum": 1}}}]}),
            &[
                ".properties[spec]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[spec]",
            ],
        ),
        (
            of_spec(json!({"type": "object", "not": {"type": "string", "description": "x"}})),
            &[
                ".properties[spec].not.description: Forbidden: must be empty to be structural",
                ".properties[spec].not.type: Forbidden: must be empty to be structural",
            ],
        ),
        (
            of_spec(
                json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            ),
            &[],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}}}}}),
            &[],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            &[
                ".properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        ),
        (
            of_spec(json!({"type": "string", "pattern": "["})),
            &[
                ".properties[spec].pattern: Invalid value: \"[\": must be a valid regular expression, but isn't: unclosed character class",
            ],
        ),
        (
            of_spec(
                json!({"type": "object", "uniqueItems": true, "additionalProperties": false, "properties": {"a": {"type": "string"}}}),
            ),
            &[
                ".properties[spec].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
                ".properties[spec].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            of_spec(
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "properties": {"name": {"type": "string"}}}}),
            ),
            &[
                ".properties[spec].items.properties[name].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        ),
        (
            of_spec(json!({"type": "integer", "minimum": 2, "default": 1})),
            &[
                ".properties[spec].default: Invalid value: 1: spec.validation.openAPIV3Schema.properties[spec].default in body should be greater than or equal to 2",
            ],
        ),
        (
            of_spec(
                json!({"type": "object", "default": {"b": 1}, "properties": {"a": {"type": "string"}}}),
            ),
            &[".properties[spec].default: Invalid value: {\"b\":1}: must not have unknown fields"],
        ),
    ];
    for (schema, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|text| format!("{at}{text}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(NAME, definition(schema.clone()), &expected);
    }
}

#[test]
fn rules_are_compiled_where_the_schema_is_right() {
    let at = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    let cases: &[(&str, Option<&str>)] = &[
        ("self.min <= self.max", None),
        ("self.min <= oldSelf.min", None),
        ("self.list.all(x, x.startsWith('a'))", None),
        ("has(self.my__dash__key)", None),
        ("self.map.all(k, self.map[k] > 0) && self.map.any == 1 && self.any != 'x'", None),
        (
            "self.mn <= self.max",
            Some(
                "compilation failed: ERROR: <input>:1:5: undefined field 'mn'\n | self.mn <= self.max\n | ....^",
            ),
        ),
        (
            "this.min > 0",
            Some(
                "compilation failed: ERROR: <input>:1:1: undeclared reference to 'this' (in container '')\n | this.min > 0\n | ^",
            ),
        ),
        ("self.min + 1", Some("cel expression must evaluate to a bool")),
        ("self.any", Some("cel expression must evaluate to a bool")),
        (
            "self.min > '1'",
            Some(
                "compilation failed: ERROR: <input>:1:10: found no matching overload for '_>_' applied to '(int, string)'\n | self.min > '1'\n | .........^",
            ),
        ),
        (
            "self.open.x == 1",
            Some(
                "compilation failed: ERROR: <input>:1:10: undefined field 'x'\n | self.open.x == 1\n | .........^",
            ),
        ),
        (
            "oldSelf.hasValue() || true",
            Some(
                "compilation failed: ERROR: <input>:1:17: found no matching overload for 'hasValue' applied to 'selfType.()'\n | oldSelf.hasValue() || true\n | ................^",
            ),
        ),
        ("self.when > timestamp('2020-01-01T00:00:00Z') && self.long < duration('1h')", None),
    ];
    for (rule, why) in cases {
        let schema = of_spec(json!({
            "type": "object",
            "properties": {
                "min": {"type": "integer"}, "max": {"type": "integer"}, "my-key": {"type": "string"},
                "any": {"x-kubernetes-int-or-string": true},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "when": {"type": "string", "format": "date-time"},
                "long": {"type": "string", "format": "duration"},
                "list": {"type": "array", "items": {"type": "string"}},
                "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            },
            "x-kubernetes-validations": [{"rule": rule}],
        }));
        let shown = serde_json::to_string(&json!({"rule": rule})).unwrap();
        let expected = why.map(|why| format!("{at}.rule: Invalid value: {shown}: {why}"));
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(NAME, definition(schema), &expected);
    }
    let optional = json!({"rule": "!oldSelf.hasValue() || oldSelf.value() == self",
        "optionalOldSelf": true, "messageExpression": "self.size()"});
    let shown = serde_json::to_string(&optional).unwrap();
    let why = format!(
        "{at}.messageExpression: Invalid value: {shown}: messageExpression must evaluate to a string"
    );
    let text = json!({"type": "string", "maxLength": 9, "x-kubernetes-validations": [optional]});
    check(NAME, definition(of_spec(text)), &[&why]);
    let atomic = json!({"type": "array", "maxItems": 9, "items": {"type": "string", "maxLength": 9, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}});
    check(
        NAME,
        definition(of_spec(atomic)),
        &[
            "spec.validation.openAPIV3Schema.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within spec.validation.openAPIV3Schema.properties[spec]",
        ],
    );
}

#[test]
fn rules_that_may_cost_too_much_are_refused() {
    let at = "spec.validation.openAPIV3Schema";
    let try_ = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where \
                arrays, maps, and strings are declared)";
    let list = |rule: &str, more: Value| {
        let mut list = json!({"type": "array", "items": {"type": "string"},
            "x-kubernetes-validations": [{"rule": rule}]});
        list.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        definition(of_spec(list))
    };
    let twice = "self.all(x, self.all(y, x == y))";
    let rule = format!("{at}.properties[spec].x-kubernetes-validations[0].rule: Forbidden");
    let too_much = [
        format!("{rule}: estimated rule cost exceeds budget by factor of more than 100x {try_}"),
        format!(
            "{rule}: contributed to estimated rule & messageExpression cost total exceeding cost \
             limit for entire OpenAPIv3 schema"
        ),
        format!(
            "{at}: Forbidden: x-kubernetes-validations estimated rule & messageExpression cost \
             total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {try_}"
        ),
    ];
    let too_much: Vec<&str> = too_much.iter().map(String::as_str).collect();
    check(NAME, list(twice, json!({})), &too_much);
    let bounds = json!({"maxItems": 100, "items": {"type": "string", "maxLength": 50}});
    check(NAME, list(twice, bounds), &[]);
    check(NAME, list("self.exists(x, x == 'a')", json!({})), &[]);
}

#[test]
fn versions_that_differ_are_checked_one_by_one() {
    let second = json!({"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "string"}}});
    check(
        NAME,
        with(definition(plain()), "/spec/versions/-", second),
        &[
            "spec.versions[1].schema.openAPIV3Schema.type: Invalid value: \"string\": must be object at the root",
        ],
    );
}

#[test]
fn what_objects_are_stored_as_stays() {
    let established = json!({"storedVersions": ["v1"], "conditions": [{"type": "Established", "status": "True"}]});
    let old = with(definition(plain()), "/status", established);
    let strategy = &resource(NAME).strategy;
    let stored = defaulted(NAME, old).commit(1);
    let new = with(definition(plain()), "/spec/scope", json!("Cluster"));
    let new = with(new, "/spec/versions/0/name", json!("v2"));
    let mut new = defaulted(NAME, new);
    strategy.prepare_for_update(&mut new, &stored);
    let mut errors = pinnace_api::field::ErrorList::default();
    strategy.validate_update(&new, &stored, &mut errors);
    assert_eq!(
        crate::support::texts(&errors),
        [
            "spec.scope: Invalid value: \"Cluster\": field is immutable",
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions",
        ]
    );
    check_update(NAME, definition(plain()), definition(plain()), &[]);
}

#[test]
fn formats_that_mean_nothing_are_warned_of() {
    let schema = of_spec(json!({"type": "object", "properties": {
        "a": {"type": "string", "format": "date-time"}, "b": {"type": "string", "format": "zip"}
    }}));
    let draft = defaulted(NAME, definition(schema));
    assert_eq!(resource(NAME).strategy.warnings(&draft, None), ["unrecognized format \"zip\""]);
}
