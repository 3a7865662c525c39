//! The local component: a disk device or a regular file, read and written at offsets from
//! many threads at once. Never interprets what it stores and never caches; whether a range
//! may be written, and in which order, is decided above.
//!
//! Invariants: nothing is read or written outside the size that the component had when it was
//! opened, and a file is never made longer; a component open for writing is locked against
//! every other user of it; a range whose zeroing succeeded reads back zero.

mod component;
mod durable;
mod error;
mod metadata;
mod space;
#[cfg(test)]
mod tests;

pub use component::{Access, Component, FILE_SECTOR};
pub use error::{DiskError, DiskErrorKind, Operation};
pub use metadata::{CreateOptions, Prepared, create, open_for_use};
