//! What devd(8) and ifconfig(8) say of CARP addresses.

use super::supervisor::Carp;

/// The state of a vhid in what `ifconfig <interface>` prints: lines as
/// `carp: MASTER vhid 1 advbase 1 advskew 0`. None where it is not there.
pub fn state(output: &str, vhid: u8) -> Option<Carp> {
    let vhid = vhid.to_string();
    output.lines().find_map(|line| {
        let mut words = line.trim().strip_prefix("carp:")?.split_whitespace();
        let state = words.next()?;
        (words.next() == Some("vhid") && words.next() == Some(vhid.as_str()))
            .then(|| word(state))
            .flatten()
    })
}

/// A state as both write it.
pub fn word(word: &str) -> Option<Carp> {
    match word {
        "MASTER" => Some(Carp::Master),
        "BACKUP" => Some(Carp::Backup),
        "INIT" => Some(Carp::Init),
        _ => None,
    }
}

/// The other way round.
pub const fn text(state: Carp) -> &'static str {
    match state {
        Carp::Master => "MASTER",
        Carp::Backup => "BACKUP",
        Carp::Init => "INIT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vhid_has_its_own_state() {
        let output = "em0: flags=1008943<UP,BROADCAST> metric 0 mtu 1500\n\
            \tinet 10.0.0.1 netmask 0xffffff00 broadcast 10.0.0.255\n\
            \tinet 10.0.0.9 netmask 0xffffffff broadcast 10.0.0.9 vhid 1\n\
            \tcarp: MASTER vhid 1 advbase 1 advskew 0\n\
            \t      peer 224.0.0.18 peer6 ff02::12\n\
            \tcarp: BACKUP vhid 12 advbase 1 advskew 100\n\
            \tcarp: INIT vhid 13 advbase 1 advskew 100\n";
        assert_eq!(state(output, 1), Some(Carp::Master));
        assert_eq!(state(output, 12), Some(Carp::Backup));
        assert_eq!(state(output, 13), Some(Carp::Init));
        assert_eq!(state(output, 2), None);
        assert_eq!(state("", 1), None);
    }

    #[test]
    fn words_read_back() {
        for state in [Carp::Master, Carp::Backup, Carp::Init] {
            assert_eq!(word(text(state)), Some(state));
        }
        assert_eq!(word("master"), None);
    }
}
