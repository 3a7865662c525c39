//! Splits hast.conf into words, quoted strings and braces, each with its line.
//!
//! A word is made of letters, digits and `. - _ / : [ ] %` (base hastd's set and `%`); anything
//! else must stand in double quotes, where `\"` and `\\` mean the character after the
//! backslash. `#` starts a comment that ends with the line. New lines are white space.

use super::tree::Problem;

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenKind {
    /// A bare word.
    Word(String),
    /// A quoted string: never a keyword.
    Quoted(String),
    /// `{`
    Open,
    /// `}`
    Close,
}

/// A token and its line, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What.
    pub kind: TokenKind,
    /// Where.
    pub line: usize,
}

impl Token {
    /// The token as messages show it.
    pub fn describe(&self) -> String {
        match &self.kind {
            TokenKind::Word(text) => format!("'{text}'"),
            TokenKind::Quoted(text) => format!("\"{text}\""),
            TokenKind::Open => "'{'".to_owned(),
            TokenKind::Close => "'}'".to_owned(),
        }
    }
}

/// Splits a whole file.
pub fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        let kind = match character {
            '\n' => {
                line += 1;
                continue;
            }
            ' ' | '\t' | '\r' => continue,
            '#' => {
                while rest.next_if(|(_, next)| *next != '\n').is_some() {}
                continue;
            }
            '{' => TokenKind::Open,
            '}' => TokenKind::Close,
            '"' => TokenKind::Quoted(quoted(&mut rest, line)?),
            first if in_word(first) => {
                let mut end = at + first.len_utf8();
                while let Some((next_at, next)) = rest.next_if(|(_, next)| in_word(*next)) {
                    end = next_at + next.len_utf8();
                }
                TokenKind::Word(text[at..end].to_owned())
            }
            other => {
                return Err(Problem::at(
                    line,
                    format!("found the character {other:?}; a word that holds it must be quoted"),
                ));
            }
        };
        found.push(Token { kind, line });
    }
    Ok(found)
}

const fn in_word(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || matches!(character, '.' | '-' | '_' | '/' | ':' | '[' | ']' | '%')
}

fn quoted(rest: &mut impl Iterator<Item = (usize, char)>, line: usize) -> Result<String, Problem> {
    let unclosed = || Problem::at(line, "found the end of the line in a string; expected '\"'");
    let mut text = String::new();
    loop {
        match rest.next().ok_or_else(unclosed)?.1 {
            '"' => return Ok(text),
            '\n' => return Err(unclosed()),
            '\\' => match rest.next().ok_or_else(unclosed)?.1 {
                escaped @ ('"' | '\\') => text.push(escaped),
                other => {
                    return Err(Problem::at(
                        line,
                        format!(
                            "found {other:?} after a backslash in a string; expected '\"' or '\\'"
                        ),
                    ));
                }
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text)
            .unwrap()
            .into_iter()
            .map(|token| token.kind)
            .collect()
    }

    #[test]
    fn words_braces_strings_and_comments() {
        use TokenKind::{Close, Open, Quoted, Word};
        assert_eq!(
            kinds("on hasta{listen tcp6://[::]:8457#rest } \n\"a \\\"b\\\\ # {\"}"),
            [
                Word("on".into()),
                Word("hasta".into()),
                Open,
                Word("listen".into()),
                Word("tcp6://[::]:8457".into()),
                Quoted("a \"b\\ # {".into()),
                Close,
            ]
        );
        assert_eq!(kinds("# only a comment"), []);
    }

    #[test]
    fn tokens_know_their_line() {
        let lines: Vec<usize> = tokens("a\n\n# c\nb\r\n\tc")
            .unwrap()
            .iter()
            .map(|token| token.line)
            .collect();
        assert_eq!(lines, [1, 4, 5]);
    }

    #[test]
    fn errors_name_line_and_character() {
        for (text, line, part) in [
            ("a\nb = c", 2, "'='"),
            ("a;", 1, "';'"),
            ("\n\"open", 2, "end of the line"),
            ("\"open\n\"", 1, "end of the line"),
            ("\"a\\n\"", 1, "after a backslash"),
            ("\"a\\", 1, "end of the line"),
            ("caf\u{e9}", 1, "must be quoted"),
        ] {
            let problem = tokens(text).unwrap_err();
            assert_eq!(problem.line, line, "{text}");
            assert!(problem.what.contains(part), "{text}: {}", problem.what);
        }
    }
}
