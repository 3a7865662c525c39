//! Exit codes of a worker: those of sysexits(3), as base hastd uses them.

/// The role ended as asked.
pub const OK: u8 = 0;
/// The component's content does not fit.
pub const DATA: u8 = 65;
/// The component can not be used.
pub const NO_INPUT: u8 = 66;
/// A fault of the program's own.
pub const SOFTWARE: u8 = 70;
/// The system does not give what is needed.
pub const OS: u8 = 71;
/// The component failed.
pub const IO: u8 = 74;
/// Worth another try: the connection was lost.
pub const TEMPORARY: u8 = 75;
/// What was asked for can not be, as things are configured.
pub const CONFIG: u8 = 78;
