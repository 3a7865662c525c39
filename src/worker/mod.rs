//! The process that runs an engine for one resource in one role, on threads.
//!
//! | file | what |
//! | --- | --- |
//! | [`channel`] | what hastd's main process and its workers say to each other |

pub mod channel;
