//! Which boot of the machine this is: what a state file says of one is worth little in the next.

use std::fmt::Write;

use hast_ffi::sysctl;

/// A text that is the same for as long as the machine runs.
///
/// # Errors
/// What keeps the kernel from saying so.
pub fn identity() -> Result<String, String> {
    let bytes = sysctl::bytes(sysctl::BOOT_ID)
        // Before FreeBSD 14; it changes when the clock is set.
        .or_else(|_| sysctl::bytes(sysctl::BOOT_TIME));
    if let Ok(bytes) = bytes {
        let mut text = String::new();
        for byte in bytes {
            write!(text, "{byte:02x}").expect("a String takes any text");
        }
        return Ok(text);
    }
    let path = "/proc/sys/kernel/random/boot_id";
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(format!("cannot find out which boot this is: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same() {
        let identity = identity().unwrap();
        assert!(!identity.is_empty());
        assert_eq!(super::identity(), Ok(identity));
    }
}
