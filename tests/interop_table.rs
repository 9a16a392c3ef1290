//! Whether the table of `docs/interop.md` and the tests of its rows are of one mind.

#![allow(clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tests whose names say a row.
fn tested() -> BTreeSet<String> {
    let files = ["frames", "keys", "links", "peers"];
    let texts = files.map(|file| read(&format!("src/mka/quirk_tests/{file}.rs")));
    let functions = texts.iter().flat_map(|text| text.split("fn ").skip(1));
    let names = functions.filter_map(|text| text.split_once('(')).map(|(name, _)| name.to_owned());
    names.filter(|name| name.starts_with("row_")).collect()
}

/// The tests that the table names, and the number of its rows.
fn documented() -> (BTreeSet<String>, usize) {
    let text = read("docs/interop.md");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        Some((cells.first()?.parse::<usize>().ok()?, (*cells.last()?).to_owned()))
    });
    let rows: Vec<_> = rows.collect();
    let named = |(number, cell): &(usize, String)| {
        let names = cell.split('`').skip(1).step_by(2);
        names.map(|name| format!("row_{number:02}_{name}")).collect::<Vec<_>>()
    };
    (rows.iter().flat_map(named).collect(), rows.len())
}

#[test]
fn every_row_has_its_tests_and_every_test_its_row() {
    let (documented, rows) = documented();
    assert_eq!(documented, tested());
    let numbers: BTreeSet<_> = documented.iter().filter_map(|name| name.get(4..6)).collect();
    assert_eq!((numbers.len(), rows), (32, 32));
}
