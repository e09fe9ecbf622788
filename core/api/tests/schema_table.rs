//! The committed table of types is the one that the tool makes.

#[path = "../tools/schema_table/table.rs"]
mod table;

#[test]
fn the_table_of_types_is_that_of_the_openapi_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/kubernetes/openapi-v2.json");
    let Ok(document) = std::fs::read(path) else {
        eprintln!("skipped: there is no {path}");
        return;
    };
    let made = table::table(&serde_json::from_slice(&document).unwrap());
    let kept = include_str!("../src/schema/builtin.txt");
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    assert_eq!(differs, None, "src/schema/builtin.txt is out of date");
    assert_eq!(made.len(), kept.len(), "src/schema/builtin.txt is out of date");
}
