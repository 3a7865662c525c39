//! As much of mdoc as the tests have to understand of the manual pages.

use std::collections::BTreeSet;

use crate::read;

/// Where a macro's arguments end: the macros that stand behind others on a line.
const MACROS: [&str; 9] = ["Ar", "Cm", "Fl", "Ic", "Li", "Ns", "Op", "Pa", "Va"];

/// A manual page's lines.
pub struct Page {
    lines: Vec<String>,
}

impl Page {
    /// A page of `man/`.
    pub fn open(name: &str) -> Self {
        let lines = read(format!("man/{name}"));
        Self {
            lines: lines.lines().map(str::to_owned).collect(),
        }
    }

    pub fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// The lines of a section.
    #[track_caller]
    pub fn section(&self, title: &str) -> &[String] {
        let heading = format!(".Sh {title}");
        let at = self.lines.iter().position(|line| *line == heading);
        let at = at.unwrap_or_else(|| panic!("there is no section {title}")) + 1;
        let rest = &self.lines[at..];
        let end = rest.iter().position(|line| line.starts_with(".Sh "));
        &rest[..end.unwrap_or(rest.len())]
    }

    /// What is shown as it stands: examples.
    pub fn displays(&self, title: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut display: Option<String> = None;
        for line in self.section(title) {
            if line.starts_with(".Bd -literal") {
                display = Some(String::new());
            } else if line == ".Ed" {
                found.extend(display.take());
            } else if let Some(text) = &mut display {
                text.push_str(&line.replace("\\e", "\\"));
                text.push('\n');
            }
        }
        found
    }

    /// The items of lists that begin with a macro: its first argument, and the text up to the next
    /// such item.
    pub fn items(&self, of: &str) -> Vec<(String, String)> {
        let begin = format!(".It {of} ");
        let mut items: Vec<(String, String)> = Vec::new();
        for line in &self.lines {
            if let Some(rest) = line.strip_prefix(&begin) {
                let word = rest.split(' ').next().unwrap_or_default();
                items.push((word.to_owned(), format!("{rest}\n")));
            } else if let Some((_, text)) = items.last_mut() {
                text.push_str(line);
                text.push('\n');
            }
        }
        items
    }
}

/// The arguments of a macro wherever it stands in the lines.
pub fn arguments<'a>(lines: &'a [String], of: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for line in lines.iter().filter(|line| line.starts_with('.')) {
        let mut inside = false;
        for word in line.trim_start_matches('.').split_whitespace() {
            if word == of {
                inside = true;
            } else if MACROS.contains(&word) {
                inside = false;
            } else if inside && !["|", ",", "..."].contains(&word) {
                found.push(word);
            }
        }
    }
    found
}

/// The options in some lines, with their hyphens.
pub fn flags(lines: &[String]) -> BTreeSet<String> {
    let found = arguments(lines, "Fl").into_iter();
    found.map(|word| format!("-{word}")).collect()
}
