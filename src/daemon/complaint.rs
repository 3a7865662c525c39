//! Why a resource is not in the role that it should be in, or has no peer: what its last worker said.
//!
//! Invariant: it stays until a worker has taken its role or another role is wanted, however many
//! workers come and go meanwhile; so status can show it whenever it is asked for.

/// What is wrong, if anything is.
#[derive(Debug, Default)]
pub struct Complaint {
    message: Option<String>,
    split_brain: bool,
    /// The worker that is there (or was last) has said it.
    fresh: bool,
}

impl Complaint {
    /// One sentence for the administrator.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Whether it is that both nodes were written to while apart.
    pub const fn is_split_brain(&self) -> bool {
        self.split_brain
    }

    /// Another worker begins: it may end without a word, but the last one's words count until then.
    pub fn worker_begins(&mut self) {
        self.fresh = false;
    }

    /// The worker says why it ends. Whether that is news.
    pub fn worker_says(&mut self, message: String) -> bool {
        self.fresh = true;
        let new = self.message() != Some(&message);
        self.message = Some(message);
        new
    }

    /// The worker has ended as it should not; counts where it has not said why by itself.
    pub fn worker_failed(&mut self, message: String) {
        if !self.fresh {
            self.worker_says(message);
        }
    }

    /// The worker has found a split brain. Whether that is news.
    pub fn found_split_brain(&mut self) -> bool {
        !std::mem::replace(&mut self.split_brain, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_count_until_a_worker_has_others() {
        let mut complaint = Complaint::default();
        complaint.worker_begins();
        assert!(complaint.worker_says("no disk".into()));
        complaint.worker_failed("exit code 1".into());
        assert_eq!(complaint.message(), Some("no disk"));
        complaint.worker_begins();
        assert_eq!(complaint.message(), Some("no disk"));
        assert!(!complaint.worker_says("no disk".into()), "said before");
        complaint.worker_begins();
        complaint.worker_failed("killed".into());
        assert_eq!(complaint.message(), Some("killed"));
    }

    #[test]
    fn a_split_brain_is_news_once() {
        let mut complaint = Complaint::default();
        assert!(complaint.found_split_brain());
        assert!(!complaint.found_split_brain());
        assert!(complaint.is_split_brain());
    }
}
