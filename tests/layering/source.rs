//! As much of Rust's grammar as the house rules need: tokens with their lines, test code taken
//! out, and paths spelled out whole.

/// One token. A literal is one token, so that nothing is found inside a string.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    /// An identifier, `::`, one character of punctuation, or a literal: [`LITERAL`], and the
    /// content where it is a string.
    pub(crate) text: String,
}

/// What a string, a character or a number begins with.
pub(crate) const LITERAL: &str = "\"";

/// A path as it was written, groups taken apart: `use a::{b, c::d}` makes two.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    /// The name after `as`.
    pub(crate) alias: Option<String>,
    /// Which token it begins at.
    pub(crate) at: usize,
}

/// Cuts a file into tokens; comments and the insides of literals are dropped.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text.chars().collect(), at: 0, line: 1, out: Vec::new() };
    while lexer.peek(0).is_some() {
        lexer.step();
    }
    lexer.out
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn bump(&mut self) {
        if self.peek(0) == Some('\n') {
            self.line += 1;
        }
        self.at += 1;
    }

    fn bump_n(&mut self, n: usize) {
        for _ in 0..n {
            self.bump();
        }
    }

    fn emit(&mut self, line: usize, text: impl Into<String>) {
        self.out.push(Token { line, text: text.into() });
    }

    fn step(&mut self) {
        let line = self.line;
        let next = self.peek(1);
        match self.peek(0) {
            Some('/') if next == Some('/') => self.line_comment(),
            Some('/') if next == Some('*') => self.block_comment(),
            Some('"') => self.string(),
            Some('\'') => self.quote(),
            Some(':') if next == Some(':') => {
                self.bump_n(2);
                self.emit(line, "::");
            }
            Some(c) if c.is_ascii_digit() => {
                self.word();
                self.emit(line, LITERAL);
            }
            Some(c) if is_word(c) => self.word_or_prefixed_string(),
            Some(c) if c.is_whitespace() => self.bump(),
            Some(c) => {
                self.bump();
                self.emit(line, c);
            }
            None => {}
        }
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.bump();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.bump_n(2);
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.bump_n(2);
                }
                (Some(_), _) => self.bump(),
                (None, _) => return,
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        let line = self.line;
        self.bump();
        let mut content = LITERAL.to_owned();
        while let Some(c) = self.peek(0) {
            self.bump();
            match c {
                '\\' => self.bump(),
                '"' => break,
                _ => content.push(c),
            }
        }
        self.emit(line, content);
    }

    fn raw_string(&mut self) {
        let line = self.line;
        let mut hashes = 0;
        while self.peek(hashes) == Some('#') {
            hashes += 1;
        }
        self.bump_n(hashes + 1);
        while self.peek(0).is_some() {
            let closes =
                self.peek(0) == Some('"') && (1..=hashes).all(|n| self.peek(n) == Some('#'));
            self.bump();
            if closes {
                self.bump_n(hashes);
                break;
            }
        }
        self.emit(line, LITERAL);
    }

    /// A character literal or a lifetime.
    fn quote(&mut self) {
        let line = self.line;
        let lifetime = self.peek(1).is_some_and(is_word) && self.peek(2) != Some('\'');
        self.bump();
        if lifetime {
            self.word();
            self.emit(line, "'");
            return;
        }
        while let Some(c) = self.peek(0) {
            self.bump();
            match c {
                '\\' => self.bump(),
                '\'' => break,
                _ => {}
            }
        }
        self.emit(line, LITERAL);
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(is_word) {
            self.bump();
        }
        self.rest.get(start..self.at).unwrap_or_default().iter().collect()
    }

    fn word_or_prefixed_string(&mut self) {
        let line = self.line;
        let word = self.word();
        let raw = self.peek(0) == Some('"')
            || (self.peek(0) == Some('#') && matches!(self.peek(1), Some('"' | '#')));
        match (word.as_str(), self.peek(0)) {
            ("r" | "br" | "cr", Some('"' | '#')) if raw => self.raw_string(),
            ("b" | "c", Some('"')) => self.string(),
            ("b", Some('\'')) => self.quote(),
            // A raw identifier: `r#type` is the word `type`.
            ("r", Some('#')) => self.bump(),
            _ => self.emit(line, word),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `tokens` hold these texts in a row, from `at` on.
pub(crate) fn reads(tokens: &[Token], at: usize, texts: &[&str]) -> bool {
    texts.iter().enumerate().all(|(n, text)| tokens.get(at + n).is_some_and(|t| t.text == *text))
}

/// A test module that is a file of its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TestModule {
    pub(crate) name: String,
    /// What its `#[path = "…"]` says.
    pub(crate) path: Option<String>,
}

/// Takes out every item under `#[cfg(test)]`, and returns the test modules in other files.
pub(crate) fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<TestModule>) {
    let (mut kept, mut test_modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        if !reads(tokens, at, &["#", "[", "cfg", "("]) || !is_test_condition(tokens, at + 4) {
            kept.extend(tokens.get(at).cloned());
            at += 1;
            continue;
        }
        let mut path = None;
        while reads(tokens, at, &["#", "["]) {
            if reads(tokens, at + 2, &["path", "="]) {
                path = tokens.get(at + 4).map(|t| t.text.replacen(LITERAL, "", 1));
            }
            at = end_of_item(tokens, at + 1);
        }
        let end = end_of_item(tokens, at);
        let item = tokens.get(at..end).unwrap_or_default();
        if let Some(n) = item.iter().position(|t| t.text == "mod")
            && reads(item, n + 2, &[";"])
            && let Some(name) = item.get(n + 1)
        {
            test_modules.push(TestModule { name: name.text.clone(), path });
        }
        at = end;
    }
    (kept, test_modules)
}

/// Whether the condition names `test` and does not begin by negating it.
fn is_test_condition(tokens: &[Token], at: usize) -> bool {
    let close = at + tokens.iter().skip(at).take_while(|t| t.text != "]").count();
    let condition = tokens.get(at..close).unwrap_or_default();
    condition.iter().any(|t| t.text == "test") && !reads(condition, 0, &["not"])
}

/// Where the item at `at` ends: after its `;`, its `{…}`, or, of an attribute, its `]`.
fn end_of_item(tokens: &[Token], at: usize) -> usize {
    let attribute = reads(tokens, at, &["["]);
    let mut depth = 0_usize;
    for (n, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 0 => return n,
            ")" => depth -= 1,
            "]" | "}" => {
                depth -= 1;
                if depth == 0 && (attribute || token.text == "}") {
                    return n + 1;
                }
            }
            ";" if depth == 0 => return n + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Spells out every path in the tokens that has a `::` or stands right after `use`.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let after_use = at > 0 && reads(tokens, at - 1, &["use"]);
        let global = reads(tokens, at, &["::"]) && (after_use || starts_path(tokens, at));
        let head = if global { at + 1 } else { at };
        if is_identifier(tokens, head) && (after_use || global || reads(tokens, head + 1, &["::"]))
        {
            let from = out.len();
            let end = spell_out(tokens, head, &[], &mut out);
            out.iter_mut().skip(from).for_each(|path| path.at = at);
            at = end.max(at + 1);
        } else {
            at += 1;
        }
    }
    out
}

/// A `::` begins a path unless an identifier or `>` stands before it.
fn starts_path(tokens: &[Token], at: usize) -> bool {
    at == 0 || !(is_identifier(tokens, at - 1) || reads(tokens, at - 1, &[">"]))
}

/// Whether a word stands here that can be part of a path.
fn is_identifier(tokens: &[Token], at: usize) -> bool {
    const KEYWORDS: &[&str] =
        &["as", "dyn", "else", "for", "impl", "in", "match", "move", "mut", "return", "use"];
    tokens.get(at).is_some_and(|token| {
        token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && !KEYWORDS.contains(&token.text.as_str())
    })
}

/// Adds the path or paths at `at`, each after `prefix`, and returns where they end.
fn spell_out(tokens: &[Token], mut at: usize, prefix: &[String], out: &mut Vec<Path>) -> usize {
    let line = tokens.get(at).map_or(0, |t| t.line);
    let mut segments = prefix.to_vec();
    loop {
        if reads(tokens, at, &["{"]) {
            at += 1;
            while at < tokens.len() && !reads(tokens, at, &["}"]) {
                let end = spell_out(tokens, at, &segments, out);
                at = if reads(tokens, end, &[","]) { end + 1 } else { end.max(at + 1) };
                while reads(tokens, at, &[","]) {
                    at += 1;
                }
            }
            return at + 1;
        }
        if !is_identifier(tokens, at) {
            // A glob, a turbofish, or the end of the file: the path names what stands before it.
            at += usize::from(reads(tokens, at, &["*"]));
            break;
        }
        segments.extend(tokens.get(at).map(|t| t.text.clone()));
        at += 1;
        if !reads(tokens, at, &["::"]) {
            break;
        }
        at += 1;
    }
    // `{self, …}` names the prefix itself.
    if segments.len() > 1 && segments.last().is_some_and(|s| s == "self") {
        segments.pop();
    }
    let mut alias = None;
    if reads(tokens, at, &["as"]) {
        alias = tokens.get(at + 1).map(|t| t.text.clone());
        at += 2;
    }
    out.push(Path { line, segments, alias, at });
    at
}
