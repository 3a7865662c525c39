//! Reads hast.conf's own notation into the tree (spec, section 6).
//!
//! Knows the shape only: which statement may stand where, and that each has a value. What the
//! values mean is settled later, for both notations alike.

use super::lexer::{Token, TokenKind, tokens};
use super::tree::{Keyword, Problem, Section, SectionKind, Statement};

/// Reads a whole file.
pub fn parse(text: &str) -> Result<Section, Problem> {
    let mut parser = Parser {
        tokens: tokens(text)?.into_iter().peekable(),
        last_line: 1,
    };
    let mut global = Section::new(SectionKind::Global, "", 1);
    parser.body(&mut global)?;
    Ok(global)
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    /// Line of the last token taken: where an unexpected end of file is reported.
    last_line: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.next()?;
        self.last_line = token.line;
        Some(token)
    }

    /// The next token, or the complaint that the file ends where `expected` should stand.
    fn require(&mut self, expected: &str) -> Result<Token, Problem> {
        let line = self.last_line;
        self.next().ok_or_else(|| {
            Problem::at(
                line,
                format!("found the end of the file; expected {expected}"),
            )
        })
    }

    /// Statements and sections up to the closing brace, or to the end of the file for the
    /// global section.
    fn body(&mut self, section: &mut Section) -> Result<(), Problem> {
        loop {
            let token = if section.kind == SectionKind::Global {
                match self.next() {
                    None => return Ok(()),
                    Some(token) => token,
                }
            } else {
                self.require(&format!(
                    "'}}' to close the section opened on line {}",
                    section.line
                ))?
            };
            match &token.kind {
                TokenKind::Close if section.kind != SectionKind::Global => return Ok(()),
                TokenKind::Word(word) => self.entry(section, word, token.line)?,
                _ => return Err(unexpected(section.kind, &token)),
            }
        }
    }

    /// One statement or one inner section, its first word already taken.
    fn entry(&mut self, section: &mut Section, word: &str, line: usize) -> Result<(), Problem> {
        if let Some(kind) = section.kind.opens(word) {
            let name = self.value(if word == "on" {
                "a node's name"
            } else {
                "a resource's name"
            })?;
            let open = self.require("'{'")?;
            if open.kind != TokenKind::Open {
                let found = open.describe();
                return Err(Problem::at(
                    open.line,
                    format!("found {found}; expected '{{'"),
                ));
            }
            let mut inner = Section::new(kind, name, line);
            self.body(&mut inner)?;
            section.sections.push(inner);
            return Ok(());
        }
        match Keyword::from_word(word) {
            Some(keyword) if section.kind.allows(keyword) => {
                let value = self.statement_value(keyword)?;
                section.statements.push(Statement {
                    keyword,
                    value,
                    line,
                });
                Ok(())
            }
            known => Err(misplaced(section.kind, word, known.is_some(), line)),
        }
    }

    fn statement_value(&mut self, keyword: Keyword) -> Result<String, Problem> {
        let mut value = self.value(&format!("the value of {keyword}"))?;
        if keyword == Keyword::Provider && value == "nbd" && self.address_follows() {
            value.push(' ');
            value.push_str(&self.value("an address")?);
        }
        Ok(value)
    }

    /// A word or string in the place of a value.
    fn value(&mut self, expected: &str) -> Result<String, Problem> {
        let token = self.require(expected)?;
        match token.kind {
            TokenKind::Word(text) | TokenKind::Quoted(text) => Ok(text),
            TokenKind::Open | TokenKind::Close => {
                let found = token.describe();
                Err(Problem::at(
                    token.line,
                    format!("found {found}; expected {expected}"),
                ))
            }
        }
    }

    /// Whether the next word is the optional address of `provider nbd`: it is quoted, or holds
    /// a character that every address but a bare host name holds and no statement does.
    fn address_follows(&mut self) -> bool {
        self.tokens.peek().is_some_and(|token| match &token.kind {
            TokenKind::Word(word) => word.contains(['/', ':']),
            TokenKind::Quoted(_) => true,
            TokenKind::Open | TokenKind::Close => false,
        })
    }
}

fn unexpected(kind: SectionKind, token: &Token) -> Problem {
    let (found, expected) = (token.describe(), kind.expected());
    let place = kind.describe();
    Problem::at(
        token.line,
        format!("found {found} in {place}; expected one of {expected}"),
    )
}

fn misplaced(kind: SectionKind, word: &str, known: bool, line: usize) -> Problem {
    let (place, expected) = (kind.describe(), kind.expected());
    let fault = if known || matches!(word, "on" | "resource") {
        format!("'{word}' does not belong in {place}")
    } else {
        format!("found the unknown word '{word}' in {place}")
    };
    Problem::at(line, format!("{fault}; expected one of {expected}"))
}
