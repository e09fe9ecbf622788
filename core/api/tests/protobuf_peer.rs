//! The protobuf form of objects, held against Kubernetes' own types in Go (`tests/peers/protobuf`).
//!
//! Objects of every kind, with every field filled at random, go through both in both directions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pinnace_api::protobuf;
use pinnace_api::schema::{Scalar, Schema, Type, TypeRef};
use serde_json::{Map, Value, json};

/// Objects per kind.
const ROUNDS: u64 = 4;
/// Nesting beyond which fields are left out.
const DEPTH_MAX: usize = 14;
/// Fields of an object beyond which no more are filled.
const FIELDS_MAX: usize = 600;
const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/peers/protobuf");

/// The peer, if it can be run from what is on this machine: nothing is downloaded.
fn peer(arguments: &[&str]) -> Option<Command> {
    let go = |arguments: &[&str]| {
        let mut go = Command::new("go");
        go.current_dir(PEER)
            .env("GOPROXY", "off")
            .env("GOFLAGS", "-buildvcs=false")
            .args(arguments);
        go
    };
    match go(&["build", "-o", "/dev/null", "."]).output() {
        Ok(built) if built.status.success() => Some(go(&[&["run", "."], arguments].concat())),
        Ok(built) => {
            eprintln!("skipped: {}", String::from_utf8_lossy(&built.stderr));
            None
        }
        Err(error) => {
            eprintln!("skipped: there is no go: {error}");
            None
        }
    }
}

#[test]
fn the_table_of_messages_is_that_of_kubernetes_types() {
    let builtin = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema/builtin.txt");
    let Some(mut peer) = peer(&["table", builtin]) else { return };
    let made = String::from_utf8(peer.output().unwrap().stdout).unwrap();
    let kept = include_str!("../src/protobuf/fields.txt");
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    assert_eq!(differs, None, "src/protobuf/fields.txt is out of date");
    assert_eq!(made.len(), kept.len(), "src/protobuf/fields.txt is out of date");
}

#[test]
fn objects_of_every_kind_are_the_same_to_clients_in_go() {
    let Some(mut peer) = peer(&["convert"]) else { return };
    let mut peer = peer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut asked, mut answered) =
        (peer.stdin.take().unwrap(), BufReader::new(peer.stdout.take().unwrap()).lines());
    let mut checked = 0;
    for (group, version, kind) in kinds() {
        let api_version =
            if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        if !protobuf::supports(&api_version, kind) {
            continue;
        }
        let of = Schema::builtin().type_of(group, version, kind).unwrap();
        for round in 0..ROUNDS {
            let mut random = Random { state: checked * 7919 + round + 1, left: FIELDS_MAX };
            let mut object = random.value(of, "", 0);
            object["apiVersion"] = json!(api_version);
            object["kind"] = json!(kind);
            let ours = protobuf::encode(&api_version, kind, object.to_string().as_bytes()).unwrap();
            let line = json!({"json": object, "protobuf": STANDARD.encode(&ours)});
            writeln!(asked, "{line}").unwrap();
            let answer: Value = serde_json::from_str(&answered.next().unwrap().unwrap()).unwrap();
            assert_eq!(answer["error"], Value::Null, "{kind}: {object:#}");
            same(&answer["ofProtobuf"], &answer["ofJson"], kind, "what go reads of ours");
            let theirs = STANDARD.decode(answer["protobuf"].as_str().unwrap()).unwrap();
            let read = protobuf::decode(&theirs, None).unwrap();
            same(&read, &answer["ofJson"], kind, "what we read of go's");
            checked += 1;
        }
    }
    drop(asked);
    assert!(peer.wait().unwrap().success());
    assert!(checked > 200, "only {checked} objects");
}

#[track_caller]
fn same(left: &Value, right: &Value, kind: &str, what: &str) {
    let (mut left, mut right) = (left.clone(), right.clone());
    normal(&mut left);
    normal(&mut right);
    if let Some(path) = difference(&left, &right) {
        panic!("{what}: {kind}{path}");
    }
}

/// Takes away what says nothing: Go writes `null` for times that are not there.
fn normal(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(normal);
        }
        Value::Array(list) => list.iter_mut().for_each(normal),
        _ => {}
    }
}

fn difference(left: &Value, right: &Value) -> Option<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let none = &Value::Null;
            let rest = difference(a.get(key).unwrap_or(none), b.get(key).unwrap_or(none))?;
            Some(format!(".{key}{rest}"))
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let both = a.iter().zip(b).enumerate();
            both.into_iter().find_map(|(at, (a, b))| Some(format!("[{at}]{}", difference(a, b)?)))
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (a, b) if a == b => None,
        (a, b) => Some(format!(": {a} is not {b}")),
    }
}

fn kinds() -> Vec<(&'static str, &'static str, &'static str)> {
    let table = include_str!("../src/schema/builtin.txt");
    let words = table.split_whitespace().filter_map(|word| word.strip_prefix('='));
    let kinds = words.filter_map(|kind| {
        let mut parts = kind.split('/');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    kinds.collect()
}

/// Chance from a seed, the same in every run (xorshift).
struct Random {
    state: u64,
    /// How many more fields there may be.
    left: usize,
}

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn value(&mut self, of: TypeRef<'_>, name: &str, depth: usize) -> Value {
        match of.shape() {
            Type::Scalar(scalar) => self.scalar(*scalar, name),
            Type::List(_) => {
                let item = of.item().unwrap();
                (0..=self.below(2)).map(|_| self.value(item, name, depth + 1)).collect()
            }
            Type::Any | Type::Opaque => json!({"type": "object"}),
            Type::Object(object) if object.fields().is_empty() => match of.field("key") {
                Some(value) if matches!(value.shape(), Type::Any) => json!({}),
                Some(value) => {
                    json!({"key": self.value(value, name, depth + 1), "a.b/c": self.value(value, name, depth + 1)})
                }
                None => json!({}),
            },
            Type::Object(object) => {
                let mut out = Map::new();
                // The type of an object within an object has no place on the wire.
                let is_whole = matches!(of.name(), "meta.v1.DeleteOptions" | "meta.v1.APIGroup")
                    || of.declared("kind").is_some() && of.declared("metadata").is_some();
                // The deeper, the fewer fields, so that objects stay small.
                let odds = 1 + depth as u64 / 2;
                for field in object.fields() {
                    let is_type = is_whole && matches!(&*field.name, "apiVersion" | "kind");
                    if is_type || depth > DEPTH_MAX || self.left == 0 || self.below(odds) > 1 {
                        continue;
                    }
                    self.left -= 1;
                    if let Some(ty) = of.field(&field.name) {
                        let value = self.value(ty, &field.name, depth + 1);
                        out.insert(field.name.to_string(), value);
                    }
                }
                Value::Object(out)
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar, name: &str) -> Value {
        const MICRO: [&str; 6] = [
            "acquireTime",
            "renewTime",
            "pingTime",
            "eventTime",
            "lastObservedTime",
            "lastHeartbeat",
        ];
        let pick = self.below(4) as usize;
        match scalar {
            Scalar::String => json!(
                [
                    "",
                    "a",
                    "größe",
                    "a longer text than one byte of length can hold, \
                which wants a second one in front of it, so it goes on for a while, and then some more"
                ][pick]
            ),
            Scalar::Integer => json!([0, 1, -7, 2_000_000_000][pick]),
            Scalar::Number => json!([0.5, 1.0, -2.25, 1e10][pick]),
            Scalar::Boolean => json!(pick.is_multiple_of(2)),
            Scalar::Bytes => json!(["AA==", "aGVsbG8=", "/////w==", "eA=="][pick]),
            Scalar::Time if MICRO.contains(&name) => {
                json!(format!("2026-01-02T03:04:05.00000{pick}Z"))
            }
            Scalar::Time => json!(format!("20{pick}6-01-02T03:04:05Z")),
            Scalar::Quantity => json!(["1", "500m", "2Gi", "0"][pick]),
            Scalar::IntOrString => [json!(0), json!(80), json!("25%"), json!("http")][pick].clone(),
        }
    }
}
