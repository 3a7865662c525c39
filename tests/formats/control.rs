//! What flowed on the control socket of a base node, at the level of entries.

use crate::vectors;

#[test]
fn control_messages_read_as_their_transcripts_say() {
    let folder = vectors::root().join("control");
    let texts = vectors::files(&folder, ".txt");
    assert_eq!(vectors::files(&folder, ".bin").len(), 2 * texts.len());
    for path in texts {
        let text = vectors::read_text(&path);
        let found = ["request", "reply"].map(|direction| {
            let file = path.with_extension(format!("{direction}.bin"));
            let messages = vectors::messages(&file);
            assert_eq!(messages.len(), 1, "{}", file.display());
            format!("{direction} {}\n", vectors::render(&messages[0].1))
        });
        assert_eq!(found.concat(), text, "{}", path.display());
    }
}
