//! Sizes as people write them: a number with an optional k, m, g or t, powers of 1024.

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not digits followed by at most one suffix.
    #[error("bad size '{0}'; expected a number with an optional suffix k, m, g or t")]
    Syntax(String),
    /// More than 63 bits, which no disk offset can hold.
    #[error("the size '{0}' is too large")]
    TooLarge(String),
}

/// Reads a size in bytes; the suffix may be of either case.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let syntax = || SizeError::Syntax(text.to_owned());
    let digits_end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err(syntax());
    }
    let shift = match suffix {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return Err(syntax()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| SizeError::TooLarge(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("4k", 4096),
            ("32m", 32 << 20),
            ("2G", 2 << 30),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "m", "-1", "1.5g", "1mb", "1 m", "0x10", "1p"] {
            assert_eq!(parse_size(text), Err(SizeError::Syntax(text.into())));
        }
        for text in ["9223372036854775808", "99999999999999999999", "9999999t"] {
            assert_eq!(parse_size(text), Err(SizeError::TooLarge(text.into())));
        }
    }
}
