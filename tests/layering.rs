//! Holds the house to its plan: who may name whom, what the core may not know, where `unsafe` may
//! stand, how long a file may be, and which dependencies there are (`docs/architecture.md`).
//!
//! It reads the sources as text, so it also sees code that a feature leaves out. The rules are
//! plain functions over text; the last module shows that each of them can fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "layering/dependencies.rs"]
mod dependencies;
#[path = "layering/rules.rs"]
mod rules;
#[path = "layering/samples.rs"]
mod samples;
#[path = "layering/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use rules::File;

/// Who may name whom. A unit is a module, or a submodule that has a row of its own; it may always
/// name itself. `a::b` on the right allows that part of `a` only. Arrows go down.
const LAYERS: &[(&str, &[&str])] = &[
    ("ident", &[]),
    ("time", &[]),
    ("wire", &["ident", "time"]),
    // Octets in, octets out: knows no type of ours.
    ("engine", &[]),
    ("crypto", &["engine", "ident", "time"]),
    // Frames, not MKPDUs.
    (
        "secy",
        &["wire::sectag", "wire::ethernet", "wire::ICV_LEN", "crypto", "engine", "ident", "time"],
    ),
    ("keyring", &["crypto", "ident", "time"]),
    // Speaks to a SecY in commands; knows nothing of how it does its work.
    (
        "mka",
        &[
            "secy::command",
            "secy::installed",
            "secy::used",
            "wire",
            "crypto",
            "keyring",
            "ident",
            "time",
        ],
    ),
    ("diagnose", &["mka", "secy", "wire", "ident", "time"]),
    ("port", &["port::driver", "port::task"]),
    ("port::driver", &["port", "mka", "secy", "keyring", "wire", "crypto", "ident", "time"]),
    (
        "port::task",
        &[
            "port",
            "port::driver",
            "dataplane",
            "dataplane::encryptor",
            "sys",
            "mka",
            "secy",
            "keyring",
            "crypto",
            "ident",
            "time",
        ],
    ),
    ("dataplane", &["dataplane::encryptor", "secy", "sys", "wire", "crypto", "ident", "time"]),
    // Knows SAKs and no other key: what it cannot name cannot cross to another process.
    ("dataplane::encryptor", &["dataplane", "secy", "sys", "crypto::sak", "ident"]),
    ("sys", &[]),
    ("config", &["mka::policy", "secy", "crypto", "keyring", "profile", "ident"]),
    ("profile", &["ident"]),
    ("control", &[]),
    (
        "daemon",
        &[
            "config",
            "control",
            "crypto",
            "dataplane",
            "dataplane::encryptor",
            "diagnose",
            "ident",
            "keyring",
            "mka",
            "port",
            "port::driver",
            "port::task",
            "profile",
            "secy",
            "sys",
            "time",
            "wire",
        ],
    ),
    ("cli", &["cli::lab", "config", "control", "crypto", "profile", "ident"]),
    // Builds namespaces and links, and counts what crosses them, so it alone of the tool talks to
    // the system and knows an EtherType.
    (
        "cli::lab",
        &["cli", "config", "control", "crypto", "profile", "wire::ethernet", "ident", "sys"],
    ),
    ("bin", &["cli", "daemon"]),
];

/// What does no I/O and knows no clock.
const CORE: &[&str] = &[
    "ident",
    "time",
    "wire",
    "engine",
    "crypto",
    "secy",
    "keyring",
    "mka",
    "diagnose",
    "port::driver",
];

/// Where `unsafe` may stand.
const UNSAFE: &[&str] = &["src/engine", "src/sys"];

/// The most lines of a file.
const LINES_MAX: usize = 600;

#[test]
fn modules_name_only_what_the_layers_allow() {
    assert_clean(&rules::layers(&read(&["src"]), LAYERS));
}

#[test]
fn the_core_names_no_clock_socket_thread_file_or_unordered_map() {
    assert_clean(&rules::core_is_pure(&read(&["src"]), CORE, LAYERS));
}

#[test]
fn unsafe_stands_in_sys_and_the_engine_and_nowhere_else() {
    let files = read(&["src", "tests", "benches", "fuzz"]);
    assert_clean(&rules::unsafe_is_fenced(&files, UNSAFE));
}

#[test]
fn every_other_module_forbids_unsafe_code() {
    assert_clean(&rules::roots_forbid_unsafe(&read(&["src"]), LAYERS, UNSAFE));
}

#[test]
fn the_library_declares_the_modules_of_the_table_and_no_others() {
    assert_clean(&rules::library_matches_table(&read(&["src"]), LAYERS));
}

#[test]
fn no_file_is_too_long() {
    let files = read(&["src", "tests", "benches", "fuzz"]);
    assert_clean(&rules::files_are_short(&files, LINES_MAX));
}

/// Every direct dependency has a row in `docs/adr/`, with the version that Cargo.toml asks for,
/// and every row a dependency.
#[test]
fn every_dependency_is_recorded_with_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let record = fs::read_to_string(root().join("docs/adr/0006-dependencies.md")).unwrap();
    assert_clean(&dependencies::differences(&manifest, &record));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads every Rust file below these folders, in order of path.
fn read(folders: &[&str]) -> Vec<File> {
    let mut paths = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut paths);
    }
    paths.sort();
    let files = paths.iter().map(|path| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        File::new(&name, &fs::read_to_string(path).unwrap())
    });
    files.collect()
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
    // `benches` may not exist; a missing `src` would be noticed by the other rules.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

fn assert_clean(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
