use serde_json::{Value, json};

use super::*;

fn objects(manifest: &str) -> Vec<Value> {
    read(manifest.as_bytes()).unwrap()
}

#[track_caller]
fn check(yaml: &str, expected: Value) {
    assert_eq!(objects(&format!("v: {yaml}")), [json!({"v": expected})], "{yaml}");
}

#[track_caller]
fn refused(manifest: &str, message: &str) {
    let error = read(manifest.as_bytes()).unwrap_err();
    assert_eq!(error.code(), 400);
    assert_eq!(error.message().strip_prefix("error parsing manifest: ").unwrap(), message);
}

#[test]
fn documents_are_read_and_empty_ones_passed_over() {
    let yaml = "# hello\n---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n";
    assert_eq!(objects(yaml), [json!({"a": 1}), json!({"b": 2})]);
    assert!(objects("").is_empty());
    assert!(objects("# only a comment\n").is_empty());
    assert!(objects("---\n").is_empty());
}

#[test]
fn json_is_read_alone_in_a_row_and_among_yaml() {
    assert_eq!(objects(r#"{"a": 1}"#), [json!({"a": 1})]);
    assert_eq!(objects("{\"a\": 1}\n {\"b\": [true]}"), [json!({"a": 1}), json!({"b": [true]})]);
    assert_eq!(objects("{\"a\": 1}\n---\nb: 2\n"), [json!({"a": 1}), json!({"b": 2})]);
    assert_eq!(objects("{a: b,}"), [json!({"a": "b"})]);
    assert_eq!(objects("\u{feff}a: 1"), [json!({"a": 1})]);
}

#[test]
fn plain_words_mean_what_they_mean_to_kubernetes() {
    for text in ["y", "Y", "yes", "on", "true", "TRUE"] {
        check(text, json!(true));
    }
    for text in ["n", "No", "off", "False"] {
        check(text, json!(false));
    }
    for text in ["", "~", "null", "Null"] {
        check(text, Value::Null);
    }
    for text in ["tRue", "nULL", "1:30", "2001-01-01", "0o9", "0xg", "_1", ".", "1e400", "="] {
        check(text, json!(text));
    }
}

#[test]
fn numbers_are_those_of_yaml_1_1() {
    check("0777", json!(511));
    check("0o777", json!(511));
    check("08", json!(8));
    check("0x10", json!(16));
    check("-0b11", json!(-3));
    check("1_000", json!(1000));
    check("+5", json!(5));
    check("1e3", json!(1000));
    check("1.0", json!(1));
    check("-.5", json!(-0.5));
    check("18446744073709551615", json!(u64::MAX));
    check("-9223372036854775808", json!(i64::MIN));
    check("99999999999999999999", json!(1e20));
}

#[test]
fn quotes_blocks_and_tags_say_what_a_scalar_is() {
    check("'yes'", json!("yes"));
    check("\"\\u263A\"", json!("☺"));
    check("|\n a\n b\n", json!("a\nb\n"));
    check(">-\n a\n b\n", json!("a b"));
    check("!!str 5", json!("5"));
    check("!!int \"5\"", json!(5));
    check("!other 5", json!("5"));
    check("!!binary aGVsbG8=", json!("hello"));
    refused("v: !!int x", "line 1, column 10: cannot decode `x` as a !!int");
}

#[test]
fn keys_become_text() {
    let read = objects("1: a\nyes: b\n1.5: c\n0x10: d\n");
    assert_eq!(read, [json!({"1": "a", "true": "b", "1.5": "c", "16": "d"})]);
    refused("a: 1\n~: 2\n", "line 2, column 1: null cannot be a key");
    refused("? [a]\n: b\n", "line 1, column 3: a list or a map cannot be a key");
}

#[test]
fn aliases_and_merges_are_followed() {
    let read = objects("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\nf: {<<: [*x, {b: 3, g: 4}]}\n");
    assert_eq!(
        read,
        [json!({
            "a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}, "f": {"b": 1, "g": 4},
        })]
    );
    assert_eq!(objects("{<<: {a: 1}, a: 2}"), [json!({"a": 2})]);
    refused(
        "a: {<<: 5}",
        "line 1, column 9: map merge requires map or sequence of maps as the value",
    );
    refused("a: &x [*x]", "line 1, column 8: an anchor's value contains itself");
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    refused("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "line 5, column 3: key \"c\" already set in map");
}

#[test]
fn lists_stand_for_their_items() {
    let read = objects(
        "kind: List\napiVersion: v1\nitems:\n- {kind: A}\n- kind: List\n  items: [{kind: B}]\n",
    );
    assert_eq!(read, [json!({"kind": "A"}), json!({"kind": "B"})]);
    let read = objects("{kind: PodList, apiVersion: v1, items: [{metadata: {name: a}}]}");
    assert_eq!(read, [json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}})]);
    let not_a_list = json!({"kind": "AccessList"});
    assert_eq!(objects("kind: AccessList"), [not_a_list]);
}

#[test]
fn errors_tell_line_and_column() {
    let error = read(b"a: 1\nb:\n  - c\n  d: [1, 2\n").unwrap_err();
    assert!(error.message().starts_with("error parsing manifest: line 4, column 3: "), "{error}");
    refused("- a\n", "line 1, column 1: a document must be an object");
    refused("a: 1\n---\nhello\n", "line 3, column 1: a document must be an object");
    refused("{\"a\": 1,\n \"b\": ]}", "line 2, column 7: expected value");
    let error = read(b"a: b\nc: \xff\n").unwrap_err();
    assert_eq!(error.message(), "error parsing manifest: line 2, column 4: the text is not UTF-8");
}

#[test]
fn a_manifest_that_is_too_large_is_refused() {
    let error = read(&vec![b' '; MAX_BYTES + 1]).unwrap_err();
    assert_eq!(error.code(), 413);
}

#[test]
fn a_manifest_that_is_too_deep_is_refused() {
    let deep = format!("a: {}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    refused(&deep, "line 1, column 103: nested more than 100 levels deep");
    for opening in ["[", "{a: ", "{", "- ", "? "] {
        assert!(read(opening.repeat(100_000).as_bytes()).is_err());
    }
    let mut nested = "a0: &a0 [x]\n".to_owned();
    for level in 1..MAX_DEPTH {
        nested += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    let error = read(nested.as_bytes()).unwrap_err();
    assert!(error.message().ends_with("nested more than 100 levels deep"), "{error}");
}

#[test]
fn aliases_cannot_blow_a_manifest_up() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..10 {
        let below = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [&below[..]; 10].join(", "));
    }
    let error = read(laughs.as_bytes()).unwrap_err();
    assert!(error.message().ends_with("document contains excessive aliasing"), "{error}");
}
