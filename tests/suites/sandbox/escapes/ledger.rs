//! The ledger and the tests are one: a row without a test, a test that does not
//! exist and a test that no row names are all mistakes.

use std::collections::BTreeSet;

/// Rows that the ledger has at least.
const LEAST: usize = 40;

fn rows() -> Vec<Vec<String>> {
    let path = fetchml_tests::repository().join("docs/escapes.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .filter(|l| l.starts_with("| ") && !l.starts_with("| id ") && !l.starts_with("| layer "))
        .map(|l| l.trim_matches('|').split(" | ").map(|c| c.trim().to_owned()).collect())
        .collect()
}

/// The tests that are compiled into this program, by their last names.
fn compiled() -> BTreeSet<String> {
    let listed =
        std::process::Command::new(std::env::current_exe().unwrap()).arg("--list").output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    text.lines()
        .filter_map(|l| l.strip_suffix(": test"))
        .map(|path| path.rsplit("::").next().unwrap_or(path).to_owned())
        .collect()
}

fn tests_of(row: &[String]) -> Vec<&str> {
    let cell = row.last().map_or("", String::as_str);
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_row_names_tests_that_exist() {
    let (rows, compiled) = (rows(), compiled());
    assert!(rows.len() >= LEAST, "{} rows", rows.len());
    for row in &rows {
        assert_eq!(row.len(), 5, "{row:?}");
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        let tests = tests_of(row);
        assert!(!tests.is_empty(), "no test: {row:?}");
        for test in tests {
            assert!(compiled.contains(test), "`{test}` does not exist: {row:?}");
        }
    }
    let ids: BTreeSet<_> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(ids.len(), rows.len(), "an id is there twice");
}

#[test]
fn every_attack_stands_in_the_ledger() {
    let rows = rows();
    let named: BTreeSet<&str> = rows.iter().flat_map(|row| tests_of(row)).collect();
    let listed =
        std::process::Command::new(std::env::current_exe().unwrap()).arg("--list").output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    for line in text.lines().filter(|l| l.starts_with("escapes::") && !l.contains("::ledger::")) {
        let name = line.trim_end_matches(": test").rsplit("::").next().unwrap_or(line);
        assert!(named.contains(name), "no row of docs/escapes.md names `{name}`");
    }
}

/// A mutation that does not fit the code any more would switch nothing off.
#[test]
fn every_mutation_fits_the_code() {
    let script = fetchml_tests::repository().join("tests/mutations/run.py");
    let output =
        std::process::Command::new("/usr/bin/python3").arg(script).arg("--check").output().unwrap();
    let output = fetchml_tests::Output::of("run.py --check".into(), &output);
    assert!(output.ok().contains("fit the code"), "{output}");
}
