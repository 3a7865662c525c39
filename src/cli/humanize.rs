//! Numbers and durations for people, as hastctl has always written them.

use std::time::Duration;

/// A number of bytes in at most three digits, or one and a decimal: `0B`, `4.5KB`, `16MB`. The
/// roundings are humanize_number(3)'s with HN_DECIMAL in five characters, which base uses.
pub fn bytes(number: u64) -> String {
    const DIVISOR: u64 = 1024;
    /// From here on a remainder rounds up to the next whole.
    const HALF: u64 = DIVISOR / 2;
    /// From here on a remainder rounds 9 up to 10: 95 % of the divisor.
    const ROUNDS_UP: u64 = 973;
    const PREFIXES: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

    let (mut quotient, mut remainder, mut scale) = (number, 0, 0);
    while quotient > 999 || (quotient == 999 && remainder >= HALF) {
        remainder = quotient % DIVISOR;
        quotient /= DIVISOR;
        scale += 1;
    }
    let prefix = PREFIXES[scale];
    let has_decimal = quotient < 9 || (quotient == 9 && remainder < ROUNDS_UP);
    if scale > 0 && has_decimal {
        let tenths = (remainder * 10 + HALF) / DIVISOR;
        format!("{}.{}{prefix}B", quotient + tenths / 10, tenths % 10)
    } else {
        format!("{}{prefix}B", quotient + (remainder + HALF) / DIVISOR)
    }
}

/// A duration in its two largest units: `6 s`, `3 min 20 s`, `2 h 5 min`, `4 d 7 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_humanize_number_writes_them() {
        for (number, text) in [
            (0, "0B"),
            (512, "512B"),
            (999, "999B"),
            (1000, "1.0KB"),
            (4608, "4.5KB"),
            (9 << 10, "9.0KB"),
            ((9 << 10) + 972, "9.9KB"),
            ((9 << 10) + 973, "10KB"),
            (2_097_152, "2.0MB"),
            (16_772_608, "16MB"),
            ((999 << 10) + 511, "999KB"),
            ((999 << 10) + 512, "1.0MB"),
            (1 << 40, "1.0TB"),
            (u64::MAX, "16EB"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (200, "3 min 20 s"),
            (7500, "2 h 5 min"),
            (4 * 86400 + 7 * 3600 + 59, "4 d 7 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
