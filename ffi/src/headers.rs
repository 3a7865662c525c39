//! What the bindings say of FreeBSD's headers: structures, ioctl numbers and constants, with the
//! names they have there. `tests/headers.rs` holds every one of them against the headers themselves.

use crate::ioctl::Number;
use crate::layout::Structure;

/// What one module says.
#[derive(Debug)]
pub struct Claims {
    /// The headers to include, in this order.
    pub headers: &'static [&'static str],
    /// Structures, with the sizes and offsets of all that is in them.
    pub structures: &'static [Structure],
    /// ioctl requests.
    pub requests: &'static [Number],
    /// Constants, or any constant expression of C, with their values.
    pub constants: &'static [(&'static str, u64)],
}

/// What all modules say.
pub const CLAIMS: &[Claims] = &[
    crate::capsicum::CLAIMS,
    crate::device::freebsd::CLAIMS,
    crate::gate::CLAIMS,
    crate::jail::CLAIMS,
];
