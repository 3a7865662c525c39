//! The table: ratios, the limits they are held against, and the absolute figures beside them.

use std::fmt::Write as _;

/// What a ratio or figure must be.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// No less.
    AtLeast(f64),
    /// No more.
    AtMost(f64),
    /// Shown for information.
    None,
}

impl Limit {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(limit) => Some(value >= limit),
            Self::AtMost(limit) => Some(value <= limit),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {limit:.2}"),
            Self::AtMost(limit) => format!("<= {limit:.2}"),
            Self::None => "-".to_owned(),
        }
    }
}

/// Values of several rounds.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds a round's value.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; the mean of the middle two where their number is even.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[count / 2],
            count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
        }
    }

    /// Each round's value by the same round's of `other`: what drifts over time cancels.
    pub fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }

    fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
}

#[derive(Debug)]
enum Line {
    Section(String),
    Figure {
        what: String,
        values: Series,
        limit: Limit,
        beside: String,
    },
    Skipped {
        what: String,
        why: String,
    },
}

/// What has been measured so far.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// Begins a group of rows.
    pub fn section(&mut self, title: &str) {
        eprintln!("== {title}");
        self.lines.push(Line::Section(title.to_owned()));
    }

    /// Adds a row: the values of the rounds, the limit of their median, absolute figures beside it.
    pub fn figure(&mut self, what: &str, values: Series, limit: Limit, beside: String) {
        eprintln!("   {what}: {:.3} ({beside})", values.median());
        self.lines.push(Line::Figure {
            what: what.to_owned(),
            values,
            limit,
            beside,
        });
    }

    /// Says what could not be measured here.
    pub fn skipped(&mut self, what: &str, why: &str) {
        eprintln!("   {what}: skipped, {why}");
        self.lines.push(Line::Skipped {
            what: what.to_owned(),
            why: why.to_owned(),
        });
    }

    /// How many limits were missed.
    pub fn missed(&self) -> usize {
        let missed = |line: &&Line| match line {
            Line::Figure { values, limit, .. } => limit.is_met(values.median()) == Some(false),
            Line::Section(_) | Line::Skipped { .. } => false,
        };
        self.lines.iter().filter(missed).count()
    }

    /// The whole table.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:<46} {:>7} {:>15}  {:<8} {:<7} {}\n",
            "measured", "median", "least..most", "limit", "", "absolute"
        );
        for line in &self.lines {
            let written = match line {
                Line::Section(title) => write!(text, "\n{title}\n"),
                Line::Skipped { what, why } => writeln!(text, "  {what:<44} skipped: {why}"),
                Line::Figure {
                    what,
                    values,
                    limit,
                    beside,
                } => {
                    let median = values.median();
                    let range = format!("{:.2}..{:.2}", values.least(), values.most());
                    let met = match limit.is_met(median) {
                        Some(true) => "met",
                        Some(false) => "MISSED",
                        None => "",
                    };
                    writeln!(
                        text,
                        "  {what:<44} {median:>7.2} {range:>15}  {:<8} {met:<7} {beside}",
                        limit.text()
                    )
                }
            };
            written.expect("a String takes any text");
        }
        text
    }
}

/// Bytes a second in MiB.
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB/s", bytes / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        Series(values.to_vec())
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert!((series(&[3.0, 1.0, 2.0]).median() - 2.0).abs() < 1e-9);
        assert!((series(&[4.0, 1.0]).median() - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_limit_is_held_against_the_median() {
        let mut report = Report::default();
        let ratio = series(&[1.0, 9.0]).over(&series(&[2.0, 10.0]));
        report.figure("a", ratio.clone(), Limit::AtLeast(0.7), String::new());
        report.figure("b", ratio.clone(), Limit::AtLeast(0.71), String::new());
        report.figure("c", ratio, Limit::AtMost(0.69), String::new());
        assert_eq!(report.missed(), 2);
        assert!(report.text().contains("0.50..0.90"));
    }
}
