//! The messages: which field of JSON stands where. Numbers are not said, for the fields of each message
//! are numbered from 1 without a gap.

use serde_json::Value;

use Shape::{Any, Each, Entries, Extensions, Flag, Fraction, OneOf, Others, Text, Texts, Whole};

/// How a value looks on the wire.
pub(super) enum Shape {
    Text,
    Flag,
    Whole,
    Fraction,
    /// Whatever there is, as YAML in a message.
    Any,
    /// A text or a list of texts, in a message.
    Texts,
    Message(&'static Message),
    /// A list.
    Each(&'static Shape),
    /// The one field of a message that the value says, by its place.
    OneOf(fn(&Value) -> usize, &'static [Shape]),
    /// All fields of the object, as pairs.
    Entries(&'static Shape),
    /// Those whose names begin with `x-`.
    Extensions,
    /// The others.
    Others(&'static Shape),
}

type Fields = &'static [(&'static str, Shape)];

/// The fields of a message by their numbers, in pieces.
pub(super) struct Message(pub(super) &'static [Fields]);

const EXTENSIONS: (&str, Shape) = ("", Extensions);
const TEXT_LIST: Shape = Each(&Text);
const OR_REFERENCE: fn(&Value) -> usize = |value| usize::from(value.get("$ref").is_some());
const PARAMETER_LIST: Shape = Each(&OneOf(OR_REFERENCE, &[PARAMETER, one(&REFERENCE)]));
const SECURITY: Shape = Each(&Shape::Message(&Message(&[&[("", Entries(&Texts))]])));

const fn one(message: &'static Message) -> Shape {
    Shape::Message(message)
}

pub(super) static DOCUMENT: Message = Message(&[&[
    ("swagger", Text),
    ("info", one(&INFO)),
    ("host", Text),
    ("basePath", Text),
    ("schemes", TEXT_LIST),
    ("consumes", TEXT_LIST),
    ("produces", TEXT_LIST),
    ("paths", one(&Message(&[&[EXTENSIONS, ("", Others(&one(&PATH_ITEM)))]]))),
    ("definitions", one(&PROPERTIES)),
    ("parameters", one(&Message(&[&[("", Entries(&PARAMETER))]]))),
    ("responses", one(&Message(&[&[("", Entries(&one(&RESPONSE)))]]))),
    ("security", SECURITY),
    ("securityDefinitions", one(&Message(&[&[("", Entries(&SECURITY_DEFINITION))]]))),
    ("tags", Each(&one(&TAG))),
    ("externalDocs", one(&EXTERNAL_DOCS)),
    EXTENSIONS,
]]);

static INFO: Message = Message(&[&[
    ("title", Text),
    ("version", Text),
    ("description", Text),
    ("termsOfService", Text),
    ("contact", one(&Message(&[&[("name", Text), ("url", Text), ("email", Text), EXTENSIONS]]))),
    ("license", one(&Message(&[&[("name", Text), ("url", Text), EXTENSIONS]]))),
    EXTENSIONS,
]]);

static TAG: Message = Message(&[&[
    ("name", Text),
    ("description", Text),
    ("externalDocs", one(&EXTERNAL_DOCS)),
    EXTENSIONS,
]]);

static EXTERNAL_DOCS: Message = Message(&[&[("description", Text), ("url", Text), EXTENSIONS]]);

static PATH_ITEM: Message = Message(&[&[
    ("$ref", Text),
    ("get", one(&OPERATION)),
    ("put", one(&OPERATION)),
    ("post", one(&OPERATION)),
    ("delete", one(&OPERATION)),
    ("options", one(&OPERATION)),
    ("head", one(&OPERATION)),
    ("patch", one(&OPERATION)),
    ("parameters", PARAMETER_LIST),
    EXTENSIONS,
]]);

static OPERATION: Message = Message(&[&[
    ("tags", TEXT_LIST),
    ("summary", Text),
    ("description", Text),
    ("externalDocs", one(&EXTERNAL_DOCS)),
    ("operationId", Text),
    ("produces", TEXT_LIST),
    ("consumes", TEXT_LIST),
    ("parameters", PARAMETER_LIST),
    (
        "responses",
        one(&Message(&[&[
            ("", Others(&OneOf(OR_REFERENCE, &[one(&RESPONSE), one(&REFERENCE)]))),
            EXTENSIONS,
        ]])),
    ),
    ("schemes", TEXT_LIST),
    ("deprecated", Flag),
    ("security", SECURITY),
    EXTENSIONS,
]]);

static REFERENCE: Message = Message(&[&[("$ref", Text), ("description", Text)]]);

static BODY_PARAMETER: Message = Message(&[&[
    ("description", Text),
    ("name", Text),
    ("in", Text),
    ("required", Flag),
    ("schema", one(&SCHEMA)),
    EXTENSIONS,
]]);

/// Where a parameter stands says which it is.
const PARAMETER: Shape = OneOf(
    |value| usize::from(value["in"] != "body"),
    &[
        one(&BODY_PARAMETER),
        OneOf(
            |value| match value["in"].as_str() {
                Some("header") => 0,
                Some("formData") => 1,
                Some("query") => 2,
                _ => 3,
            },
            &[
                one(&OTHER_PARAMETER),
                one(&EMPTIABLE_PARAMETER),
                one(&EMPTIABLE_PARAMETER),
                one(&OTHER_PARAMETER),
            ],
        ),
    ],
);

const PARAMETER_FIELDS: Fields =
    &[("required", Flag), ("in", Text), ("description", Text), ("name", Text)];
static SIMPLE: [(&str, Shape); 5] = [
    ("type", Text),
    ("format", Text),
    ("items", one(&ITEMS)),
    ("collectionFormat", Text),
    ("default", Any),
];
/// How large a value may be, and how long.
const BOUNDS: Fields = &[
    ("maximum", Fraction),
    ("exclusiveMaximum", Flag),
    ("minimum", Fraction),
    ("exclusiveMinimum", Flag),
    ("maxLength", Whole),
    ("minLength", Whole),
    ("pattern", Text),
    ("maxItems", Whole),
    ("minItems", Whole),
    ("uniqueItems", Flag),
];
const VALUES: Fields = &[("enum", Each(&Any)), ("multipleOf", Fraction)];

/// In the path and in headers.
static OTHER_PARAMETER: Message =
    Message(&[PARAMETER_FIELDS, &SIMPLE, BOUNDS, VALUES, &[EXTENSIONS]]);
/// In the query and in forms.
static EMPTIABLE_PARAMETER: Message = Message(&[
    PARAMETER_FIELDS,
    &[("allowEmptyValue", Flag)],
    &SIMPLE,
    BOUNDS,
    VALUES,
    &[EXTENSIONS],
]);
static ITEMS: Message = Message(&[&SIMPLE, BOUNDS, VALUES, &[EXTENSIONS]]);
static HEADER: Message = Message(&[&SIMPLE, BOUNDS, VALUES, &[("description", Text), EXTENSIONS]]);

static RESPONSE: Message = Message(&[&[
    ("description", Text),
    (
        "schema",
        OneOf(|value| usize::from(value["type"] == "file"), &[one(&SCHEMA), one(&FILE_SCHEMA)]),
    ),
    ("headers", one(&Message(&[&[("", Entries(&one(&HEADER)))]]))),
    ("examples", one(&Message(&[&[("", Entries(&Any))]]))),
    EXTENSIONS,
]]);

static FILE_SCHEMA: Message = Message(&[&[
    ("format", Text),
    ("title", Text),
    ("description", Text),
    ("default", Any),
    ("required", TEXT_LIST),
    ("type", Text),
    ("readOnly", Flag),
    ("externalDocs", one(&EXTERNAL_DOCS)),
    ("example", Any),
    EXTENSIONS,
]]);

/// Schemas by name, those whose names begin with `x-` as well.
static PROPERTIES: Message = Message(&[&[("", Entries(&one(&SCHEMA)))]]);

static SCHEMA: Message = Message(&[
    &[
        ("$ref", Text),
        ("format", Text),
        ("title", Text),
        ("description", Text),
        ("default", Any),
        ("multipleOf", Fraction),
    ],
    BOUNDS,
    &[
        ("maxProperties", Whole),
        ("minProperties", Whole),
        ("required", TEXT_LIST),
        ("enum", Each(&Any)),
        (
            "additionalProperties",
            OneOf(|value| usize::from(value.is_boolean()), &[one(&SCHEMA), Flag]),
        ),
        ("type", Texts),
        // The message has room for several, of which OpenAPI v2 uses one.
        ("items", OneOf(|_| 0, &[one(&SCHEMA)])),
        ("allOf", Each(&one(&SCHEMA))),
        ("properties", one(&PROPERTIES)),
        ("discriminator", Text),
        ("readOnly", Flag),
        ("xml", one(&XML)),
        ("externalDocs", one(&EXTERNAL_DOCS)),
        ("example", Any),
        EXTENSIONS,
    ],
]);

static XML: Message = Message(&[&[
    ("name", Text),
    ("namespace", Text),
    ("prefix", Text),
    ("attribute", Flag),
    ("wrapped", Flag),
    EXTENSIONS,
]]);

const SECURITY_DEFINITION: Shape = OneOf(
    |value| match (value["type"].as_str(), value["flow"].as_str()) {
        (Some("basic"), _) => 0,
        (Some("oauth2"), Some("implicit")) => 2,
        (Some("oauth2"), Some("password")) => 3,
        (Some("oauth2"), Some("application")) => 4,
        (Some("oauth2"), _) => 5,
        _ => 1,
    },
    &[
        one(&BASIC),
        one(&API_KEY),
        one(&OAUTH2_IMPLICIT),
        one(&OAUTH2_TOKEN),
        one(&OAUTH2_TOKEN),
        one(&OAUTH2_CODE),
    ],
);

static BASIC: Message = Message(&[&[("type", Text), ("description", Text), EXTENSIONS]]);
static API_KEY: Message =
    Message(&[&[("type", Text), ("name", Text), ("in", Text), ("description", Text), EXTENSIONS]]);

const OAUTH2: Fields =
    &[("type", Text), ("flow", Text), ("scopes", one(&Message(&[&[("", Entries(&Text))]])))];
const DESCRIBED: Fields = &[("description", Text), EXTENSIONS];

static OAUTH2_IMPLICIT: Message = Message(&[OAUTH2, &[("authorizationUrl", Text)], DESCRIBED]);
static OAUTH2_TOKEN: Message = Message(&[OAUTH2, &[("tokenUrl", Text)], DESCRIBED]);
static OAUTH2_CODE: Message =
    Message(&[OAUTH2, &[("authorizationUrl", Text), ("tokenUrl", Text)], DESCRIBED]);
