//! Rust sources without what only people read: comments removed, the contents of strings blanked, tests cut out.
//!
//! Blanks take the place of what is removed, so offsets and lines stay those of the file.

use std::ops::Range;

/// A source as the rules look at it.
#[derive(Default)]
pub struct Masked {
    /// Code only, as long as the text.
    pub code: String,
    /// The contents of string literals by their place in the text, quotes excluded.
    pub strings: Vec<Range<usize>>,
}

impl Masked {
    /// The code without modules and functions marked `#[cfg(test)]`.
    pub fn without_tests(&self) -> String {
        let mut code = self.code.clone();
        let mut from = 0;
        while let Some(at) = code[from..].find("#[cfg(test)]").map(|at| from + at) {
            let end = item_end(&code, at);
            code.replace_range(at..end, &blank(&code[at..end]));
            from = end;
        }
        code
    }
}

/// The end of the item that begins at an offset: its closing brace, or its semicolon.
pub fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (i, b) in code.bytes().enumerate().skip(start) {
        match b {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return i + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return i + 1,
            _ => {}
        }
    }
    code.len()
}

/// Removes comments and the contents of strings.
pub fn mask(text: &str) -> Masked {
    let mut masked = Masked { code: String::with_capacity(text.len()), strings: Vec::new() };
    let mut at = 0;
    while at < text.len() {
        let (end, kind) = token(text, at);
        let piece = &text[at..end];
        match kind {
            Kind::Code => masked.code.push_str(piece),
            Kind::Comment => masked.code.push_str(&blank(piece)),
            Kind::Text { open, close } => {
                masked.strings.push(at + open..end - close);
                masked.code.push_str(&piece[..open]);
                masked.code.push_str(&blank(&piece[open..piece.len() - close]));
                masked.code.push_str(&piece[piece.len() - close..]);
            }
        }
        at = end;
    }
    masked
}

enum Kind {
    Code,
    Comment,
    /// A literal with the lengths of its quotes.
    Text {
        open: usize,
        close: usize,
    },
}

/// The token that begins at an offset: a comment, a string, or a piece of code that holds neither.
fn token(text: &str, at: usize) -> (usize, Kind) {
    let rest = &text[at..];
    if rest.starts_with("//") {
        return (at + rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
    }
    if rest.starts_with("/*") {
        return (at + block_comment(rest), Kind::Comment);
    }
    if let Some((open, close)) = raw_quotes(text, at) {
        let quote = format!("\"{}", "#".repeat(close - 1));
        let end = rest[open..].find(&quote).map_or(rest.len(), |i| open + i + close);
        return (at + end, Kind::Text { open, close });
    }
    if rest.starts_with('"') {
        return (at + quoted(rest, b'"'), Kind::Text { open: 1, close: 1 });
    }
    if rest.starts_with('\'') && is_char(rest) {
        return (at + quoted(rest, b'\''), Kind::Text { open: 1, close: 1 });
    }
    (at + rest.chars().next().map_or(1, char::len_utf8), Kind::Code)
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let bytes = rest.as_bytes();
    let mut i = 0;
    while i + 1 < bytes.len() {
        match &bytes[i..i + 2] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    rest.len()
}

/// The lengths of the quotes of a raw string that begins here: `r#"` is 3 long, and `"#` 2.
fn raw_quotes(text: &str, at: usize) -> Option<(usize, usize)> {
    let before = text[..at].chars().next_back();
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None; // the r belongs to a word
    }
    let rest = &text[at..];
    let r = ["r", "br", "cr"].into_iter().find(|r| rest.starts_with(r) && rest[r.len()..].starts_with(['"', '#']))?;
    let hashes = rest[r.len()..].bytes().take_while(|b| *b == b'#').count();
    rest[r.len() + hashes..].starts_with('"').then_some((r.len() + hashes + 1, hashes + 1))
}

/// The length of a literal with escapes, quotes included.
fn quoted(rest: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (i, b) in rest.bytes().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b if b == quote => return i + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Whether a quote begins a character and not a lifetime.
fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(second)) => second == '\'',
        _ => false,
    }
}

fn blank(text: &str) -> String {
    text.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect()
}

#[test]
fn comments_and_strings_are_blanked_and_offsets_kept() {
    let text = "a // todo!()\nb /* x /* y */ z */ c \"d\\\"e\" 'f' '\\'' 'static r#\"g\"h\"# r\"i\" k";
    let masked = mask(text);
    assert_eq!(masked.code.len(), text.len());
    let words: Vec<&str> = masked.code.split_whitespace().collect();
    assert_eq!(words, ["a", "b", "c", "\"", "\"", "'", "'", "'", "'", "'static", "r#\"", "\"#", "r\"", "\"", "k"]);
    let strings: Vec<&str> = masked.strings.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!(strings, ["d\\\"e", "f", "\\'", "g\"h", "i"]);
}

#[test]
fn tests_are_cut_out() {
    let masked = mask("fn a() {}\n#[cfg(test)]\nmod tests { fn b() { {} } }\n#[cfg(test)]\nmod more;\nfn c() {}");
    let code = masked.without_tests();
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["fn", "a()", "{}", "fn", "c()", "{}"]);
}
