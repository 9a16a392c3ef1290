//! Who may ask for what.
//!
//! Whoever can open the socket may look: its mode and group settle that. A change takes more: the
//! kernel's word that the caller is root, or the user that the daemon runs as.

/// What a request does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// It looks.
    Read,
    /// It changes something: a key, the configuration.
    Change,
}

/// Decides whether a caller may do it, by its user identifier and the daemon's own.
#[must_use]
pub const fn permits(action: Action, caller: u32, daemon: u32) -> bool {
    match action {
        Action::Read => true,
        Action::Change => caller == ROOT || caller == daemon,
    }
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_for_root_and_the_daemon_s_own_user_alone() {
        let (daemon, other) = (990, 1000);
        assert!(permits(Action::Change, 0, daemon));
        assert!(permits(Action::Change, daemon, daemon));
        assert!(!permits(Action::Change, other, daemon));
        assert!(!permits(Action::Change, other, 0));
        // What the kernel gives for a user that this namespace does not know.
        assert!(!permits(Action::Change, 65534, daemon));
    }

    #[test]
    fn whoever_got_in_may_look() {
        assert!(permits(Action::Read, 1000, 990));
    }
}
