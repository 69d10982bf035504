//! Just enough of Rust's grammar to measure functions.

/// A function's name, its first line (from 1) and how many lines it has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function<'a> {
    pub name: &'a str,
    pub line: usize,
    pub lines: usize,
}

/// Every function of `source` that has a body.
pub(crate) fn functions(source: &str) -> Vec<Function<'_>> {
    let code = blank(source);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(offset) = find_word(&code[at..], b"fn") {
        let start = at + offset;
        at = start + 2;
        let name_start = at + code[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let name_length = code[name_start..].iter().take_while(|byte| is_word(**byte)).count();
        // `fn(u32)` is a type.
        let Some(end) = (name_length > 0).then(|| body_end(&code[name_start..])).flatten() else { continue };
        let name = &source[name_start..name_start + name_length];
        let line = 1 + count_lines(&code[..start]);
        found.push(Function { name, line, lines: 1 + count_lines(&code[start..name_start + end]) });
    }
    found
}

fn count_lines(code: &[u8]) -> usize {
    code.iter().filter(|byte| **byte == b'\n').count()
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn find_word(code: &[u8], word: &[u8]) -> Option<usize> {
    (0..code.len()).find(|&at| {
        code[at..].starts_with(word)
            && (at == 0 || !is_word(code[at - 1]))
            && code.get(at + word.len()).is_none_or(|next| !is_word(*next))
    })
}

/// The end of the body that begins at the first `{` outside of every bracket; `None` for a declaration.
fn body_end(code: &[u8]) -> Option<usize> {
    let (mut brackets, mut braces) = (0_usize, 0_usize);
    for (at, byte) in code.iter().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets = brackets.saturating_sub(1),
            b';' if brackets == 0 && braces == 0 => return None,
            b'{' if brackets == 0 || braces > 0 => braces += 1,
            b'}' if braces == 1 => return Some(at + 1),
            b'}' => braces = braces.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// `source` of the same length and lines, with comments and the insides of literals blanked out.
pub(crate) fn blank(source: &str) -> Vec<u8> {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    while code.len() < bytes.len() {
        let rest = &bytes[code.len()..];
        let before_is_word = code.last().is_some_and(|byte| is_word(*byte));
        let skipped = match rest {
            [b'/', b'/', ..] => rest.iter().take_while(|byte| **byte != b'\n').count(),
            [b'/', b'*', ..] => block_comment(rest),
            [b'"', ..] => string(rest),
            [b'b' | b'c', b'"', ..] if !before_is_word => 1 + string(&rest[1..]),
            [b'r', b'"' | b'#', ..] if !before_is_word => raw_string(rest, 1),
            [b'b' | b'c', b'r', b'"' | b'#', ..] if !before_is_word => raw_string(rest, 2),
            [b'\'', ..] => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(rest[0]);
        } else {
            code.extend(rest[..skipped].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        }
    }
    code
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    rest.len().min(at + 1)
}

/// `prefix` letters, hashes, a quote, and so on until quote and hashes; 0 for a raw identifier.
fn raw_string(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &rest[open + 1..];
    let length = body.windows(close.len()).position(|window| window == close);
    length.map_or(rest.len(), |length| open + 1 + length + close.len())
}

/// A character's length; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', _, tail @ ..] => 3 + tail.iter().position(|byte| *byte == b'\'').map_or(0, |at| at + 1),
        [_, first, tail @ ..] => {
            let more = match first {
                0xf0.. => 3,
                0xe0.. => 2,
                0xc0.. => 1,
                _ => 0,
            };
            if tail.get(more) == Some(&b'\'') { 3 + more } else { 0 }
        }
        _ => 0,
    }
}

/// Fields of structs that a whole crate or a parent module may touch, and structs with both private and public fields:
/// line and fault.
pub(crate) fn shared_fields(source: &str) -> Vec<(usize, String)> {
    let mut faults = Vec::new();
    let mut is_open = false;
    let (mut public, mut private) = (0, 0);
    for (line, text) in (1..).zip(source.lines()) {
        let rest = text.trim_start();
        let fields = rest.split_once("struct ").filter(|_| !rest.starts_with("//")).map(|(_, fields)| fields);
        if fields.is_some_and(|fields| fields.contains("pub(")) {
            faults.push((line, format!("{rest}: make the field private")));
        } else if fields.is_some_and(|fields| fields.ends_with('{')) {
            (is_open, public, private) = (true, 0, 0);
        } else if rest == "}" {
            is_open = false;
        } else if is_open && !rest.starts_with("//") && !rest.starts_with("#[") && rest.contains(": ") {
            if rest.starts_with("pub(") {
                faults.push((line, format!("{rest} make the field private")));
            } else if rest.starts_with("pub ") {
                public += 1;
            } else {
                private += 1;
            }
            if public > 0 && private > 0 {
                faults.push((line, "a struct with private and public fields: keep all of them private".to_owned()));
                is_open = false;
            }
        }
    }
    faults
}

#[test]
fn shared_fields_are_found() {
    let check = |source: &str, expect: &[usize]| {
        let found: Vec<usize> = shared_fields(source).into_iter().map(|(line, _)| line).collect();
        assert_eq!(found, expect, "{source}");
    };
    check("pub struct A {\n    a: u8,\n    /// b\n    b: u8,\n}\nfn f(x: u8) {}\n", &[]);
    check("pub struct A {\n    pub a: u8,\n    pub b: u8,\n}\n", &[]);
    check("struct A {\n    pub(crate) a: u8,\n    pub(super) b: u8,\n    pub(in crate::c) c: u8,\n}\n", &[2, 3, 4]);
    check("struct A {\n    pub a: u8,\n    b: u8,\n}\n", &[3]);
    check("pub(crate) struct A<'a> {\n    a: &'a u8,\n    pub b: u8,\n}\n", &[3]);
    check("struct A(pub(crate) u8);\n", &[1]);
    check("pub(crate) struct A(u8);\nimpl A {\n    pub(crate) fn a(x: u8) {}\n}\n", &[]);
}

#[test]
fn functions_are_measured() {
    let check = |source: &str, expect: &[(&str, usize, usize)]| {
        let found: Vec<_> = functions(source).iter().map(|one| (one.name, one.line, one.lines)).collect();
        assert_eq!(found, expect, "{source}");
    };
    check("fn a() {}", &[("a", 1, 1)]);
    check("\nfn a(x: [u8; 2])\n-> u8 {\n  { 1 }\n}\n", &[("a", 2, 4)]);
    check("fn a() {\n fn b() {\n }\n}\n", &[("a", 1, 4), ("b", 2, 2)]);
    check("trait T { fn a(&self);\n fn b(&self) {\n } }", &[("b", 2, 2)]);
    check("type F = fn(u32) -> u32; const fn c<const N: usize>(f: fn()) {\n}", &[("c", 1, 2)]);
    check("// fn a() {\nfn b<'a>(x: &'a str) -> char {\n '}'\n}", &[("b", 2, 3)]);
    check(
        "fn b() { \"}\\\"}\"; '\\''; '\\u{7d}'; '十'; b'}';\n r#\"}\"}\"#; br\"}\"; /* } /* } */ } */\n}",
        &[("b", 1, 3)],
    );
    check("fn b() { r#fn();\n}", &[("b", 1, 2)]);
    check("fn a() {", &[]);
}
