//! errno numbers on the wire: FreeBSD's, whatever system we run on (spec, section 3).
//! On FreeBSD both directions are the identity; elsewhere what has no counterpart becomes EIO.

use nix::errno::Errno;

/// Numbers below this are the same on FreeBSD and Linux, 11 apart.
#[cfg(not(target_os = "freebsd"))]
const COMMON: i32 = 35;

/// The errors that both systems have under different numbers, with FreeBSD's.
#[cfg(not(target_os = "freebsd"))]
const DIFFERENT: &[(Errno, i16)] = &[
    (Errno::EDEADLK, 11),
    (Errno::EAGAIN, 35),
    (Errno::EINPROGRESS, 36),
    (Errno::EALREADY, 37),
    (Errno::ENOTSOCK, 38),
    (Errno::EDESTADDRREQ, 39),
    (Errno::EMSGSIZE, 40),
    (Errno::EPROTOTYPE, 41),
    (Errno::ENOPROTOOPT, 42),
    (Errno::EPROTONOSUPPORT, 43),
    (Errno::ESOCKTNOSUPPORT, 44),
    (Errno::EOPNOTSUPP, 45),
    (Errno::EPFNOSUPPORT, 46),
    (Errno::EAFNOSUPPORT, 47),
    (Errno::EADDRINUSE, 48),
    (Errno::EADDRNOTAVAIL, 49),
    (Errno::ENETDOWN, 50),
    (Errno::ENETUNREACH, 51),
    (Errno::ENETRESET, 52),
    (Errno::ECONNABORTED, 53),
    (Errno::ECONNRESET, 54),
    (Errno::ENOBUFS, 55),
    (Errno::EISCONN, 56),
    (Errno::ENOTCONN, 57),
    (Errno::ESHUTDOWN, 58),
    (Errno::ETOOMANYREFS, 59),
    (Errno::ETIMEDOUT, 60),
    (Errno::ECONNREFUSED, 61),
    (Errno::ELOOP, 62),
    (Errno::ENAMETOOLONG, 63),
    (Errno::EHOSTDOWN, 64),
    (Errno::EHOSTUNREACH, 65),
    (Errno::ENOTEMPTY, 66),
    (Errno::EUSERS, 68),
    (Errno::EDQUOT, 69),
    (Errno::ESTALE, 70),
    (Errno::EREMOTE, 71),
    (Errno::ENOLCK, 77),
    (Errno::ENOSYS, 78),
    (Errno::EIDRM, 82),
    (Errno::ENOMSG, 83),
    (Errno::EOVERFLOW, 84),
    (Errno::ECANCELED, 85),
    (Errno::EILSEQ, 86),
    (Errno::EBADMSG, 89),
    (Errno::EMULTIHOP, 90),
    (Errno::ENOLINK, 91),
    (Errno::EPROTO, 92),
    (Errno::ENOTRECOVERABLE, 95),
    (Errno::EOWNERDEAD, 96),
];

/// The number that goes on the wire; never zero.
#[cfg(not(target_os = "freebsd"))]
pub fn to_wire(error: Errno) -> i16 {
    let number = error as i32;
    if let Some((_, wire)) = DIFFERENT.iter().find(|(errno, _)| *errno == error) {
        *wire
    } else if (1..COMMON).contains(&number) {
        number as i16
    } else {
        Errno::EIO as i16
    }
}

/// The error of a number from the wire.
#[cfg(not(target_os = "freebsd"))]
pub fn from_wire(number: i16) -> Errno {
    if let Some((errno, _)) = DIFFERENT.iter().find(|(_, wire)| *wire == number) {
        *errno
    } else if (1..COMMON).contains(&(number as i32)) {
        Errno::from_raw(number as i32)
    } else {
        Errno::EIO
    }
}

/// The number that goes on the wire; never zero.
#[cfg(target_os = "freebsd")]
pub fn to_wire(error: Errno) -> i16 {
    match error {
        Errno::UnknownErrno => Errno::EIO as i16,
        known => known as i16,
    }
}

/// The error of a number from the wire.
#[cfg(target_os = "freebsd")]
pub fn from_wire(number: i16) -> Errno {
    match Errno::from_raw(number as i32) {
        Errno::UnknownErrno => Errno::EIO,
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_freebsds() {
        let known = [
            (Errno::EPERM, 1),
            (Errno::EIO, 5),
            (Errno::ENOMEM, 12),
            (Errno::EINVAL, 22),
            (Errno::ENOSPC, 28),
            (Errno::EROFS, 30),
            (Errno::EDEADLK, 11),
            (Errno::EAGAIN, 35),
            (Errno::EOPNOTSUPP, 45),
            (Errno::ETIMEDOUT, 60),
            (Errno::EDQUOT, 69),
            (Errno::ENOSYS, 78),
            (Errno::ECANCELED, 85),
        ];
        for (errno, number) in known {
            assert_eq!(to_wire(errno), number, "{errno}");
            assert_eq!(from_wire(number), errno, "{number}");
        }
    }

    #[test]
    fn every_number_is_some_error_and_every_error_comes_back() {
        for number in i16::MIN..=i16::MAX {
            let errno = from_wire(number);
            assert_ne!(errno, Errno::UnknownErrno, "{number}");
            assert!(errno == Errno::EIO || to_wire(errno) == number, "{number}");
        }
        assert_eq!(from_wire(0), Errno::EIO);
        assert_eq!(to_wire(Errno::UnknownErrno), Errno::EIO as i16);
    }

    /// Numbers of FreeBSD alone (EPROCLIM, EBADRPC..EPROCUNAVAIL, EFTYPE..ENEEDAUTH, ENOATTR, EDOOFUS,
    /// ENOTCAPABLE, ECAPMODE, EINTEGRITY) have no Linux counterpart; every other one has.
    #[test]
    #[cfg(target_os = "linux")]
    fn only_freebsds_own_errors_become_eio() {
        let own = [67, 72, 73, 74, 75, 76, 79, 80, 81, 87, 88, 93, 94, 97];
        for number in (1..=97).filter(|number| *number != 5) {
            assert_eq!(
                from_wire(number) == Errno::EIO,
                own.contains(&number),
                "{number}"
            );
        }
    }
}
