//! Expressions in CEL, of whatever text.

use std::sync::OnceLock;

use pinnace_api::expressions::{
    Budget, Declared, Scope, Ty, Val, Yields, compile, load, objects_of_mutations,
    variables_of_request,
};
use serde_json::{Value, json};

/// What an evaluation may cost here: as much as finds something in the time that there is.
const BUDGET: u64 = 100_000;
/// Longest complaint, in bytes: a hundred lines, each of which shows a line of the text.
const COMPLAINT_MAX: usize = 100 * (2 * 4096 + 10_000);

/// What expressions see.
fn world() -> &'static [Value; 6] {
    static WORLD: OnceLock<[Value; 6]> = OnceLock::new();
    WORLD.get_or_init(|| {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a",
            "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1",
            "ports": [{"containerPort": 80}]}], "replicas": 3, "ratio": 0.5, "on": true}});
        let request = json!({"operation": "CREATE", "name": "a", "namespace": "default",
            "userInfo": {"username": "jane", "groups": ["a", "b"]}, "dryRun": false});
        let namespace = json!({"metadata": {"name": "default", "labels": {"team": "a"}}});
        [object, Value::Null, request, namespace, json!({"data": {"x": "1"}}), json!("self")]
    })
}

/// What is accepted can be evaluated within its budget, and yields what its type says.
pub(crate) fn cel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut variables = variables_of_request(true, false);
    variables.push(Declared::open("self"));
    let scope =
        Scope { variables: &variables, composed: None, objects: Some(&objects_of_mutations) };
    let names: Vec<&str> = variables.iter().map(|one| one.name).collect();
    let (expression, ty) = match compile(text, scope, Yields::Anything) {
        Ok(compiled) => compiled,
        Err(why) => return assert!(why.len() <= COMPLAINT_MAX, "{}", why.len()),
    };
    load(text, &names, &[]).expect("what was accepted can be loaded");
    let budget = Budget::new(BUDGET);
    let values = world().each_ref().map(Val::of);
    // Requests are not quite of the types that are declared: what is not said is not there.
    let Ok(value) = expression.evaluate(&values, &budget) else { return };
    assert!(fits(&value, &ty), "{text}: {value:?} is no {ty}");
    value.to_json().ok();
}

fn fits(value: &Val<'_>, ty: &Ty<'_>) -> bool {
    let name = value.type_name();
    match ty {
        // As in cel-go, `a ? null : b` is of the type of its first branch.
        Ty::Dyn | Ty::Open(_) | Ty::Null => true,
        Ty::Wrong => false,
        Ty::Bool => name == "bool",
        Ty::Int => name == "int",
        Ty::Uint => name == "uint",
        Ty::Double => name == "double",
        Ty::Text => name == "string",
        Ty::Bytes => name == "bytes",
        Ty::Time => ["google.protobuf.Timestamp", "null_type", "string"].contains(&name),
        Ty::Duration => ["google.protobuf.Duration", "null_type", "string"].contains(&name),
        Ty::Type(_) => name == "type",
        Ty::List(_) => name == "list",
        Ty::Map(_) => name == "map",
        Ty::Optional(_) => ["optional_type", "null_type"].contains(&name),
        Ty::Own(own) => [*own, "null_type"].contains(&name),
        Ty::Object(_) => ["map", "null_type"].contains(&name),
    }
}
