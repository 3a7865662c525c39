//! Where the captures are, and how their transcripts are written.

use std::fs;
use std::path::{Path, PathBuf};

use hast::wire::frame::{Decoder, HEADER_SIZE, Limits, Message};

/// The folder of captures.
pub fn root() -> PathBuf {
    let root = std::env::var_os("HAST_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    );
    assert!(root.is_dir(), "no captured bytes in {}", root.display());
    root
}

/// The entries of a folder, sorted; never none.
pub fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths
}

/// The files of a folder whose names end so; never none.
pub fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut paths = list(folder);
    paths.retain(|path| name(path).ends_with(ending));
    assert!(
        !paths.is_empty(),
        "nothing named *{ending} in {}",
        folder.display()
    );
    paths
}

/// The folders that hold connections between nodes.
pub fn conversations() -> Vec<PathBuf> {
    let other = ["control", "disk", "text"];
    let mut folders = list(&root());
    folders.retain(|path| path.is_dir() && !other.contains(&name(path)));
    assert!(!folders.is_empty());
    folders
}

pub fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("plain names")
}

pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn read_text(path: &Path) -> String {
    String::from_utf8(read(path)).expect("transcripts are ASCII")
}

/// The messages of a capture with their offsets. Every byte belongs to one, and comes out of it
/// again when its entries are encoded anew.
pub fn messages(path: &Path) -> Vec<(usize, Message)> {
    let bytes = read(path);
    let mut decoder = Decoder::new(Limits::PEER);
    let (mut messages, mut at, mut begin) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let (taken, message) = decoder
            .feed(&bytes[at..])
            .unwrap_or_else(|e| panic!("{} @{begin}: {e}", path.display()));
        at += taken;
        if let Some(message) = message {
            let mut captured = bytes[begin..at].to_vec();
            let nv_end = captured.len() - message.payload.len();
            clean(&mut captured[HEADER_SIZE..nv_end]);
            assert!(message.encode() == captured, "{} @{begin}", path.display());
            messages.push((begin, message));
            begin = at;
        }
    }
    assert!(
        !decoder.is_amid(),
        "{} ends within a message",
        path.display()
    );
    messages
}

/// Zeroes what base hastd leaves behind names: bytes of its stack, which nobody could reproduce.
/// Walks by the spec's table, without the code under test.
pub fn clean(list: &mut [u8]) {
    let mut at = 0;
    while list.get(at).is_some_and(|kind| *kind != 0) {
        let name_end = at + 6 + list[at + 1] as usize;
        let size = u32::from_le_bytes(list[at + 2..at + 6].try_into().expect("four bytes"));
        let data = at + 6 + (list[at + 1] as usize).next_multiple_of(8);
        list[name_end..data].fill(0);
        at = data + (size as usize).next_multiple_of(8);
    }
}

/// A message as the transcripts have it, but for where it was.
pub fn render(message: &Message) -> String {
    let payload = match message.payload.len() {
        0 => String::new(),
        length => format!(" payload={length}B"),
    };
    format!("v{} {}{payload}", message.version, message.nv)
}
