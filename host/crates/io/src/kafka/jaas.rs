//! One entry of a JAAS configuration, as the property `sasl.jaas.config` of Java's clients has it.
//!
//! In: `org.example.Module required name="value" ...;`. Out: the module and its options. Knows nothing of what they mean. Source: Kafka's
//! `JaasConfig`, which reads words and quoted texts as Java's `StreamTokenizer` does.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A login module with its options, of which some are secrets.
pub(super) struct Login {
    pub module: String,
    pub options: BTreeMap<String, String>,
}

#[derive(PartialEq, Eq)]
enum Token {
    Word(String),
    Equals,
    End,
}

/// Reads an entry; nothing if it is none.
pub(super) fn login(text: &str) -> Option<Login> {
    let mut chars = text.chars().peekable();
    let mut word = || match token(&mut chars)? {
        Some(Token::Word(word)) => Some(word),
        _ => None,
    };
    let (module, flag) = (word()?, word()?.to_ascii_lowercase());
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.as_str()) {
        return None;
    }
    let mut options = BTreeMap::new();
    loop {
        let name = match token(&mut chars)? {
            Some(Token::Word(name)) => name,
            // Java insists on the semicolon, and nothing is gained by that
            Some(Token::End) | None => return Some(Login { module, options }),
            Some(Token::Equals) => return None,
        };
        let (Some(Token::Equals), Some(Token::Word(value))) = (token(&mut chars)?, token(&mut chars)?) else {
            return None;
        };
        options.insert(name, value);
    }
}

/// The next token; `Some(None)` at the end, `None` for a text that is not closed.
fn token(chars: &mut Peekable<Chars<'_>>) -> Option<Option<Token>> {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
    Some(Some(match chars.next() {
        None => return Some(None),
        Some('=') => Token::Equals,
        Some(';') => Token::End,
        Some(quote @ ('"' | '\'')) => Token::Word(quoted(chars, quote)?),
        Some(first) => {
            let mut word = String::from(first);
            while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !matches!(c, '=' | ';' | '"' | '\'')) {
                word.push(c);
            }
            Token::Word(word)
        }
    }))
}

/// The rest of a text in quotes.
fn quoted(chars: &mut Peekable<Chars<'_>>, quote: char) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            c if c == quote => return Some(text),
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0'..='7' => return None, // octal numbers, which nobody has in a password
                c => c,
            }),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_java_does() {
        let text = "x.PlainLoginModule required\n user = \"a \\\"b\\\\\" pass='c;=\"d' plain=word-1_$2 ;";
        let login = login(text).expect("an entry");
        assert_eq!(login.module, "x.PlainLoginModule");
        let options: Vec<_> = login.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(options, [("pass", "c;=\"d"), ("plain", "word-1_$2"), ("user", "a \"b\\")]);
        // what stands in a value is no option
        let hidden = super::login("M required password=\"x username=\\\"evil\\\"\" username=\"me\"").expect("an entry");
        assert_eq!(hidden.options.get("username").map(String::as_str), Some("me"));
    }

    #[test]
    fn what_is_no_entry_is_not_guessed_at() {
        for text in [
            "",
            "M",
            "M required user",
            "M required =",
            "M required a=\"b",
            "M perhaps a=b;",
            "M required a=\"\\101\";",
        ] {
            assert!(login(text).is_none(), "{text}");
        }
    }
}
