//! The formats against bytes captured from FreeBSD's own hastd and hastctl, and against noise.
//!
//! The captures are in tests/vectors, or in the folder that HAST_VECTORS names, laid out alike (see
//! the README there). Where they are missing these tests fail.

mod disk;
mod extension;
mod fuzz;
mod peer;
mod targets;
mod vectors;

mod control;
