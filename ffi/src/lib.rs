//! What takes `unsafe`, and nothing else: system calls and ioctls that have no safe
//! wrapper in a library we use. Safe functions out; every `unsafe` block says why it is sound.
//!
//! What only FreeBSD has is compiled on every system, less the system call itself.

pub mod capsicum;
pub mod descriptors;
pub mod device;
#[cfg(target_os = "linux")]
pub mod durable;
pub mod gate;
pub mod headers;
pub mod interrupt;
pub mod ioctl;
pub mod jail;
pub mod layout;
pub mod modules;
pub mod mounts;
pub mod peer;
pub mod spawn;
pub mod sysctl;
pub mod syslog;
pub mod title;
