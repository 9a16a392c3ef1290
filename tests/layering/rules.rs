//! The rules, each a function from files to the places that break it.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{self, Path, TestModule, Token, reads};

/// Who may name whom.
pub(crate) type Layers = [(&'static str, &'static [&'static str])];

/// One source file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root of the repository.
    pub(crate) name: String,
    pub(crate) lines: usize,
    pub(crate) tokens: Vec<Token>,
    /// The module it is, from the root of the library; empty for `lib.rs`, `bin` first for a
    /// binary.
    pub(crate) module: Vec<String>,
}

impl File {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let path = name.strip_prefix("src/").unwrap_or(name).trim_end_matches(".rs");
        let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        Self {
            name: name.to_owned(),
            lines: text.lines().count(),
            tokens: source::tokens(text),
            module,
        }
    }
}

/// Finds paths from one unit to another that its row does not allow.
pub(crate) fn layers(files: &[File], layers: &Layers) -> Vec<String> {
    let product = product_code(files);
    let exports = reexports(&product);
    let mut out = Vec::new();
    for (file, tokens) in &product {
        // `lib.rs` declares; the rule for it is `library_matches_table`.
        if file.module.is_empty() {
            continue;
        }
        let Some((unit, allowed)) = row_of(&file.module, layers) else {
            out.push(format!("{}: its module is not in the table of layers", file.name));
            continue;
        };
        for path in source::paths(tokens) {
            let Some(target) = absolute(file, tokens, &path) else { continue };
            let target = resolve(target, &exports);
            let to = row_of(&target, layers).map(|(unit, _)| unit);
            if to == Some(unit) {
                continue;
            }
            let fits = |entry: &&str| {
                let entry: Vec<String> = entry.split("::").map(str::to_owned).collect();
                target.starts_with(&entry) && row_of(&entry, layers).map(|(unit, _)| unit) == to
            };
            if !allowed.iter().any(fits) {
                out.push(format!(
                    "{}:{}: `{unit}` may not name `{}`",
                    file.name,
                    path.line,
                    written(&target)
                ));
            }
        }
        out.extend(whole_crate(file, tokens));
    }
    out
}

/// Finds names in the core that stand for the machine it runs on.
pub(crate) fn core_is_pure(files: &[File], core: &[&str], layers: &Layers) -> Vec<String> {
    const WORDS: &[&str] = &["HashMap", "HashSet", "Instant", "SystemTime"];
    const STD: &[&str] = &["env", "fs", "io", "net", "os", "process", "thread"];
    const CRATES: &[&str] = &["libc", "nix", "rtnetlink", "socket2", "tokio", "tracing", "zlink"];
    let mut out = Vec::new();
    for (file, tokens) in product_code(files) {
        if !row_of(&file.module, layers).is_some_and(|(unit, _)| core.contains(&unit)) {
            continue;
        }
        let mut refuse = |line: usize, what: &str| {
            out.push(format!("{}:{line}: the core may not name `{what}`", file.name));
        };
        for token in tokens.iter().filter(|t| WORDS.contains(&t.text.as_str())) {
            refuse(token.line, &token.text);
        }
        for path in source::paths(&tokens) {
            let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
            match segments.as_slice() {
                ["std" | "core" | "alloc", module, ..] if STD.contains(module) => {
                    refuse(path.line, &segments.join("::"));
                }
                [name, ..] if CRATES.contains(name) => refuse(path.line, name),
                _ => {}
            }
        }
    }
    out
}

/// Finds the word `unsafe` outside its fence, tests included.
pub(crate) fn unsafe_is_fenced(files: &[File], fences: &[&str]) -> Vec<String> {
    let outside = files.iter().filter(|file| !inside(file, fences));
    let found = outside.flat_map(|file| {
        let tokens = file.tokens.iter().filter(|t| t.text == "unsafe");
        tokens.map(|t| format!("{}:{}: `unsafe` outside {fences:?}", file.name, t.line))
    });
    found.collect()
}

/// Finds roots of modules, and binaries, that do not begin by forbidding unsafe code.
pub(crate) fn roots_forbid_unsafe(files: &[File], layers: &Layers, fences: &[&str]) -> Vec<String> {
    const FORBID: &[&str] = &["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"];
    let is_root = |file: &&File| match file.module.as_slice() {
        [name] => !inside(file, fences) && layers.iter().any(|(unit, _)| unit == name),
        [bin, _] => bin == "bin",
        _ => false,
    };
    let forbids = |file: &&File| reads(&file.tokens, 0, FORBID);
    let bare = files.iter().filter(is_root).filter(|file| !forbids(file));
    bare.map(|file| {
        format!("{}:1: `#![forbid(unsafe_code)]` is not its first attribute", file.name)
    })
    .collect()
}

/// Whether a file lies in one of these folders.
fn inside(file: &File, fences: &[&str]) -> bool {
    fences
        .iter()
        .any(|fence| file.name.strip_prefix(fence).is_some_and(|rest| rest.starts_with('/')))
}

/// Finds modules that stand in `lib.rs` or in the table, but not in both.
pub(crate) fn library_matches_table(files: &[File], layers: &Layers) -> Vec<String> {
    let Some(library) = files.iter().find(|file| file.name == "src/lib.rs") else {
        return vec!["src/lib.rs: missing".to_owned()];
    };
    let declared: BTreeSet<&str> = (0..library.tokens.len())
        .filter(|at| reads(&library.tokens, *at, &["pub", "mod"]))
        .map(|at| library.tokens[at + 2].text.as_str())
        .collect();
    let tops = layers.iter().map(|(unit, _)| *unit);
    let table: BTreeSet<&str> =
        tops.filter(|unit| !unit.contains("::") && *unit != "bin").collect();
    let unknown = declared.difference(&table);
    let missing = table.difference(&declared);
    unknown
        .map(|name| format!("src/lib.rs: `{name}` is not in the table of layers"))
        .chain(missing.map(|name| format!("src/lib.rs: `pub mod {name}` is missing")))
        .collect()
}

/// Finds files over the limit.
pub(crate) fn files_are_short(files: &[File], most: usize) -> Vec<String> {
    let long = files.iter().filter(|file| file.lines > most);
    long.map(|file| format!("{}: {} lines, {most} allowed", file.name, file.lines)).collect()
}

/// Gives each file with what is not test code; a file that is only test code is left out.
fn product_code(files: &[File]) -> Vec<(&File, Vec<Token>)> {
    let mut test_modules: BTreeSet<Vec<String>> = BTreeSet::new();
    let mut test_files: BTreeSet<String> = BTreeSet::new();
    let mut out = Vec::new();
    for file in files {
        let (tokens, modules) = source::without_tests(&file.tokens);
        for TestModule { name, path } in modules {
            let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
            test_files.extend(path.map(|path| format!("{folder}/{path}")));
            test_modules.insert(child(&file.module, &name));
        }
        out.push((file, tokens));
    }
    out.retain(|(file, _)| {
        !test_files.contains(&file.name)
            && !test_modules.iter().any(|test| file.module.starts_with(test))
    });
    out
}

/// Maps what a module re-exports, by its name there, to where it is from.
fn reexports(product: &[(&File, Vec<Token>)]) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut out = BTreeMap::new();
    for (file, tokens) in product {
        for path in source::paths(tokens) {
            if !is_public_use(tokens, path.at) {
                continue;
            }
            let from = absolute(file, tokens, &path).unwrap_or_else(|| {
                // `pub use child::Name`.
                file.module.iter().chain(&path.segments).cloned().collect()
            });
            if let Some(name) = path.alias.as_ref().or(path.segments.last()) {
                out.insert(child(&file.module, name), from);
            }
        }
    }
    out
}

/// Whether `pub use` or `pub(…) use` stands before the token at `at`.
fn is_public_use(tokens: &[Token], at: usize) -> bool {
    at >= 2 && reads(tokens, at - 1, &["use"]) && matches!(&*tokens[at - 2].text, "pub" | ")")
}

/// Follows re-exports until the path names where its item is.
fn resolve(mut path: Vec<String>, exports: &BTreeMap<Vec<String>, Vec<String>>) -> Vec<String> {
    // A re-export of a re-export is followed; a ring of them is cut.
    for _ in 0..8 {
        let hit = (1..=path.len()).find_map(|n| exports.get(&path[..n]).map(|from| (n, from)));
        let Some((n, from)) = hit else { break };
        path = from.iter().chain(&path[n..]).cloned().collect();
    }
    path
}

/// Gives a path from the root of the library; `None` where it leads elsewhere.
fn absolute(file: &File, tokens: &[Token], path: &Path) -> Option<Vec<String>> {
    let head = path.segments.first().map(String::as_str)?;
    let library = if file.module.first().is_some_and(|m| m == "bin") { "macsecd" } else { "crate" };
    if head == library || head == "macsecd" {
        return Some(path.segments[1..].to_vec());
    }
    if head != "super" && head != "self" {
        return None;
    }
    let mut base = file.module.clone();
    base.extend(inline_modules(tokens, path.at));
    let mut rest = path.segments.as_slice();
    while let [step, tail @ ..] = rest {
        match step.as_str() {
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        rest = tail;
    }
    Some(base.into_iter().chain(rest.iter().cloned()).collect())
}

/// Names the `mod name { … }` that are open at a token.
fn inline_modules(tokens: &[Token], at: usize) -> Vec<String> {
    let mut open: Vec<Option<String>> = Vec::new();
    for n in 0..at {
        match tokens[n].text.as_str() {
            "{" if n >= 2 && tokens[n - 2].text == "mod" => {
                open.push(Some(tokens[n - 1].text.clone()));
            }
            "{" => open.push(None),
            "}" => drop(open.pop()),
            _ => {}
        }
    }
    open.into_iter().flatten().collect()
}

/// Finds `use crate as …` and the like, behind which every name could hide.
fn whole_crate(file: &File, tokens: &[Token]) -> Vec<String> {
    let found = source::paths(tokens).into_iter().filter_map(|path| {
        let target = absolute(file, tokens, &path)?;
        let line = path.line;
        target.is_empty().then(|| format!("{}:{line}: names the whole library", file.name))
    });
    found.collect()
}

/// The row of the innermost unit that holds this path.
fn row_of<'a>(path: &[String], layers: &'a Layers) -> Option<(&'a str, &'a [&'a str])> {
    let holds = |unit: &str| {
        let unit: Vec<&str> = unit.split("::").collect();
        path.len() >= unit.len() && path.iter().zip(&unit).all(|(a, b)| a == b)
    };
    let rows = layers.iter().filter(|(unit, _)| holds(unit));
    rows.max_by_key(|(unit, _)| unit.len()).copied()
}

fn child(module: &[String], name: &str) -> Vec<String> {
    module.iter().cloned().chain([name.to_owned()]).collect()
}

fn written(path: &[String]) -> String {
    format!("crate::{}", path.join("::"))
}
