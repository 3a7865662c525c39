//! Questions to a disk device and what only an ioctl can ask of it: its size and sector,
//! its identity, flush and delete. Never decides what an unsupported request means: the
//! errno comes out as it is.
//!
//! Every function is for a descriptor of a disk device (a GEOM provider's character device
//! on FreeBSD, a block device on Linux); on anything else the kernel answers ENOTTY or ENODEV.
//! What [`freebsd`] has is compiled everywhere, so that it can be checked everywhere.

pub mod freebsd;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "freebsd")]
pub use freebsd::{delete, flush, identity, media_size, sector_size, stripe_size};
#[cfg(target_os = "linux")]
pub use linux::{discard, media_size, sector_size};
