//! Writes the table of built-in types that `pinnace_api::schema` reads, from Kubernetes' OpenAPI v2
//! document: `cargo run -p pinnace-api --example schema-table -- openapi-v2.json >
//! core/api/src/schema/builtin.txt`.
//!
//! The table holds facts only: which type has which fields, and how lists and maps are merged. Its
//! grammar is told in `core/api/src/schema/table.rs`.

mod table;

fn main() {
    let path = std::env::args().nth(1).expect("usage: schema-table OPENAPI-V2.json");
    let text = std::fs::read_to_string(&path).expect("the document can be read");
    print!("{}", table::table(&serde_json::from_str(&text).expect("the document is JSON")));
}
